"""What a mesh puts into pods, first of their containers, changes nothing for servers and agents."""

from typing import Any

import pytest

from livekit_operator.views import ServerLoad
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World

SHARED: dict[str, Any] = {"replicas": 2, "redis": {"address": "redis.example.com:6379"}}
PROXY: Manifest = {"name": "linkerd-proxy", "image": "proxy:1", "ports": [{"name": "status", "containerPort": 4191}]}
RUNNING: Manifest = {"name": "linkerd-proxy", "containerID": "p", "restartCount": 0, "state": {"running": {}}}


def inject(pod: Manifest) -> None:
    if pod["kind"] == "Pod":
        pod["spec"]["containers"].insert(0, dict(PROXY))


async def started(world: World, **spec: Any) -> None:
    world.kubernetes.admission.append(inject)
    world.kubernetes.put(manifests.server(**spec))
    await run(world)


async def run(world: World) -> None:
    """Let every pod run until nothing changes."""
    for _ in range(6):
        await world.settle()
        world.run_server()
        for pod in world.server_pods():
            world.loads.answers.setdefault(world.get("Pod", name(pod))["status"]["podIP"], ServerLoad(0, 0))
    await world.settle()


def name(pod: Manifest) -> str:
    return str(pod["metadata"]["name"])


def checks(world: World) -> list[str]:
    return [pod for pod in world.kubernetes.names("Pod") if "-check-" in pod]


def status(world: World, pod: str, *statuses: Manifest, **more: Any) -> None:
    world.kubernetes.edit("Pod", NAMESPACE, pod, {"containerStatuses": list(statuses), **more}, status=True)


async def test_servers_that_share_rooms_are_not_replaced_for_ever(world: World) -> None:
    await started(world, **SHARED)
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert len(world.server_pods()) == 2
    world.forget()
    for _ in range(75):
        world.clock.advance(1)
        await world.round()
    assert world.written() == []


async def test_what_a_server_was_started_with_may_be_taken_from_its_pod(world: World) -> None:
    """A policy that strips annotations and rewrites containers leaves what the spec says."""

    def strip(pod: Manifest) -> None:
        if pod["kind"] == "Pod":
            pod["metadata"]["annotations"] = {}
            pod["spec"]["containers"][0]["env"] = []

    world.kubernetes.admission.append(strip)
    world.kubernetes.put(manifests.server(**SHARED))
    await run(world)
    assert len(world.server_pods()) == 2
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    world.forget()
    for _ in range(20):
        world.clock.advance(1)
        await world.round()
    assert world.written() == []


async def test_a_check_ends_beside_a_sidecar_that_does_not(world: World) -> None:
    await started(world, **SHARED)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"logging": {"level": "debug"}}})
    await world.reconcile("LiveKitServer", "voice")
    (check,) = checks(world)
    ended = {"name": "livekit-server", "state": {"terminated": {"exitCode": 0}}}
    world.kubernetes.logs[check] = "TCP Ports\n"
    status(world, check, RUNNING, ended, phase="Running")
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    assert checks(world) == []
    assert world.kubernetes.reads == [f"log {check}/livekit-server"]
    assert f"delete Pod/{check}" in world.written()
    assert any(write.startswith("create Pod/voice-livekit-") for write in world.written())
    await run(world)
    assert checks(world) == []
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("False", "UpToDate")


async def test_a_check_that_did_not_pass_is_told_beside_a_sidecar(world: World) -> None:
    await started(world, **SHARED)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"extraConfig": {"nonsense": 1}}})
    await world.reconcile("LiveKitServer", "voice")
    (check,) = checks(world)
    world.kubernetes.logs[check] = "could not parse config: field nonsense not found\n"
    status(world, check, RUNNING, {"name": "livekit-server", "state": {"terminated": {"exitCode": 0}}}, phase="Running")
    await world.reconcile("LiveKitServer", "voice")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "ConfigRejected")


@pytest.mark.parametrize("kind", ["containerStatuses", "initContainerStatuses"])
async def test_a_sidecar_that_keeps_a_server_from_starting_is_named(world: World, kind: str) -> None:
    await started(world)
    (pod,) = world.server_pods()
    world.stop_server()
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such proxy"}}}
    own = {"name": "livekit-server", "containerID": "c", "state": {"waiting": {"reason": "PodInitializing"}}}
    world.kubernetes.edit("Pod", NAMESPACE, name(pod), {"containerStatuses": [own]}, status=True)
    broken = [{"name": "linkerd-proxy", **waiting}, *([own] if kind == "containerStatuses" else [])]
    world.kubernetes.edit("Pod", NAMESPACE, name(pod), {kind: broken}, status=True)
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "ImageNotFound")
    message = world.message("LiveKitServer", "voice")
    assert "container linkerd-proxy: ImagePullBackOff: no such proxy" in message


async def test_a_sidecar_that_ended_is_no_server_that_died(world: World) -> None:
    await started(world, **SHARED)
    (first, *_) = world.server_pods()
    (proxy, own) = world.get("Pod", name(first))["status"]["containerStatuses"]
    assert proxy["name"] == "linkerd-proxy"
    status(world, name(first), {**proxy, "containerID": "another", "restartCount": 1}, own)
    await world.reconcile("LiveKitServer", "voice")
    assert not world.context.lost_replica


async def test_agents_are_known_by_their_own_container(world: World) -> None:
    await world.with_server()
    world.kubernetes.admission.append(inject)
    await world.with_pool()
    (pod,) = world.agent_pods()
    agent = {"name": "agent", "containerID": "a", "restartCount": 0, "state": {"running": {}}}
    status(world, name(pod), agent, RUNNING)
    world.say(world.get("Pod", name(pod)), jobs={"job": "a-room"})
    await world.reconcile("VoiceAgentPool", "front-desk")
    # The proxy ends and comes back: the call goes on.
    restarted = {**RUNNING, "containerID": "q", "restartCount": 1, "lastState": {"terminated": {"exitCode": 1}}}
    status(world, name(pod), agent, restarted, conditions=[{"type": "Ready", "status": "False"}])
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.context.pools[NAMESPACE, "front-desk"].pods[pod["metadata"]["uid"]].status is not None
    assert world.condition("VoiceAgentPool", "front-desk", "AgentsAvailable")[1] != "WorkerCrashed"
    waiting = {"name": "linkerd-proxy", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}
    status(world, name(pod), agent, waiting)
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert "container linkerd-proxy: CrashLoopBackOff" in world.message("VoiceAgentPool", "front-desk")
