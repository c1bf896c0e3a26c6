"""Pods that hang before their containers start are told of in the kubelet's words, and few Events are asked for."""

from typing import Any

import pytest

from livekit_operator.errors import KubernetesError
from livekit_operator.moments import timestamp
from livekit_operator.reconciling.hanging_pods import why_it_hangs
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World

CREATING = {"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}
MOUNT = 'MountVolume.SetUp failed for volume "models" : secret "models" not found'


def tell(world: World, pod: Manifest, reason: str = "FailedMount", message: str = MOUNT, **more: Any) -> None:
    """Write an Event about a pod as the kubelet does."""
    uid = pod["metadata"]["uid"]
    name = f"event-{len(world.kubernetes.objects)}"
    event = {
        "kind": "Event",
        "metadata": {"name": name, "namespace": pod["metadata"]["namespace"]},
        "involvedObject": {"kind": "Pod", "uid": uid},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": timestamp(world.clock()),
    }
    world.kubernetes.put({**event, **more})


def place(world: World, pod: Manifest, *statuses: Manifest, node: str | None = "node-1") -> Manifest:
    """Give a pod a node, and its containers these statuses."""
    name = pod["metadata"]["name"]
    world.kubernetes.edit("Pod", NAMESPACE, name, {"spec": {"nodeName": node}})
    status = {"phase": "Pending", "containerStatuses": list(statuses)}
    return world.kubernetes.edit("Pod", NAMESPACE, name, status, status=True)


def asked(world: World) -> int:
    return sum(read.startswith("list Event") for read in world.kubernetes.reads)


async def test_a_server_that_cannot_mount_says_what(world: World) -> None:
    world.kubernetes.put(manifests.server())
    await world.settle()
    (pod,) = world.server_pods()
    tell(world, place(world, pod, {**CREATING, "name": "livekit-server"}))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing"), "it may only take a moment"
    assert asked(world) == 0
    world.clock.advance(10)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "PodNotStarting")
    assert f"Pod voice-livekit-0 does not start: FailedMount: {MOUNT}" in world.message("LiveKitServer", "voice")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "PodNotStarting")
    before = asked(world)
    for _ in range(14):
        world.clock.advance(1)
        await world.round()
    assert asked(world) == before
    world.run_server()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_a_check_that_cannot_mount_says_what(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"logging": {"level": "debug"}}})
    await world.reconcile("LiveKitServer", "voice")
    (check,) = [name for name in world.kubernetes.names("Pod") if "-check-" in name]
    tell(world, place(world, world.get("Pod", check)))
    world.clock.advance(10)
    await world.reconcile("LiveKitServer", "voice")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "PodNotStarting")
    await world.pass_check()
    await world.settle()
    world.run_server()
    await world.settle()


async def test_an_agent_that_cannot_mount_says_what_and_is_no_failed_version(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(replicas=3))
    await world.settle()
    for pod in world.agent_pods():
        tell(world, place(world, pod, {**CREATING, "name": "agent"}))
    world.clock.advance(10)
    world.kubernetes.reads.clear()
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "PodsFailing")
    assert f"does not start: FailedMount: {MOUNT}" in world.message("VoiceAgentPool", "front-desk")
    assert asked(world) == 1, "one of them tells enough"
    assert len(world.agent_pods()) == 3
    assert not world.get("VoiceAgentPool", "front-desk")["status"]["versions"][0].get("message")


@pytest.mark.parametrize(
    ("statuses", "node", "hangs"),
    [
        pytest.param([], "node-1", True, id="nothing told yet"),
        pytest.param([CREATING], "node-1", True, id="creating"),
        pytest.param(
            [{"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}], "node-1", True, id="init"
        ),
        pytest.param([], None, False, id="without a node"),
        pytest.param([{"name": "main", "state": {"running": {}}}], "node-1", False, id="running"),
        pytest.param([{"name": "main", "state": {"terminated": {"exitCode": 0}}}], "node-1", False, id="ended"),
        pytest.param([{"name": "main", "state": {"waiting": {"reason": "ErrImagePull"}}}], "node-1", False, id="image"),
    ],
)
async def test_who_hangs(world: World, statuses: list[Manifest], node: str | None, hangs: bool) -> None:
    pod = world.kubernetes.put(_pod("p"))
    pod = place(world, pod, *statuses, node=node)
    tell(world, pod)
    world.clock.advance(60)
    assert (await why_it_hangs(world.context, [pod]) is not None) is hangs


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], None),
        ([("Unhealthy", "probe failed", "2026-01-01T00:00:00Z")], None),
        ([("FailedScheduling", "no node", "2026-01-01T00:00:00Z")], None),
        (
            [("FailedAttachVolume", "in use", "2026-01-01T00:00:09Z"), ("FailedMount", "x", "2026-01-01T00:00:08Z")],
            "FailedAttachVolume: in use",
        ),
        ([("FailedCreatePodSandBox", "no network " + "x" * 5000, "")], "FailedCreatePodSandBox: no network"),
    ],
)
async def test_the_last_words_count(world: World, events: list[tuple[str, str, str]], words: str | None) -> None:
    pod = place(world, world.kubernetes.put(_pod("p")), CREATING)
    for reason, message, when in events:
        tell(world, pod, reason, message, lastTimestamp=when)
    tell(world, world.kubernetes.put(_pod("another")), message="of another")
    world.clock.advance(60)
    found = await why_it_hangs(world.context, [pod])
    assert (found is None) is (words is None)
    if found is not None and words is not None:
        assert found[1].startswith(words)
        assert len(found[1]) < 600


async def test_events_that_cannot_be_read_stop_nothing_and_are_not_asked_for_at_once_again(world: World) -> None:
    pod = place(world, world.kubernetes.put(_pod("p")), CREATING)
    world.kubernetes.fail("list", "Event", KubernetesError(403, "Forbidden", "no"), once=True)
    world.clock.advance(60)
    assert await why_it_hangs(world.context, [pod]) is None
    tell(world, pod)
    assert await why_it_hangs(world.context, [pod]) is None
    world.clock.advance(15)
    assert await why_it_hangs(world.context, [pod]) is not None


async def test_what_was_said_of_pods_that_are_gone_is_forgotten(world: World) -> None:
    for number in range(20):
        pod = place(world, world.kubernetes.put(_pod(f"p{number}")), CREATING)
        world.clock.advance(60)
        await why_it_hangs(world.context, [pod])
    assert len(world.context.hanging) <= 5


def _pod(name: str) -> Manifest:
    spec: Manifest = {"containers": [{"name": "main"}]}
    return {"kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
