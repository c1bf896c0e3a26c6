"""What never ends by itself is slowed down and told, and what goes well is not."""

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from livekit_operator.constants import ANNOTATION_APPLIED, LABEL_COMPONENT, LABEL_REVISION
from livekit_operator.manifests.metadata import COMPONENT_SERVER, COMPONENT_SERVER_CHECK
from livekit_operator.process.wiring import TABLE, child_kinds
from livekit_operator.views import ServerLoad
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.objects import Manifest
from tests.fakes.world import World

SERVER: dict[str, Any] = {
    "replicas": 2,
    "redis": {"managed": {}},
    "media": {"exposure": "NodePort"},
    "turn": {"udp": True, "domain": "turn.example.com"},
    "signal": {"externalUrl": "wss://voice.example.com", "ingress": {"host": "voice.example.com"}},
}
MINUTE = 60


async def live(
    world: World, seconds: float, *, step: float = 5.0, kubelet: Callable[[], None] = lambda: None
) -> Counter[str]:
    """Have everything looked at again and again for a time; return the writes by verb and kind."""
    world.loads.otherwise = ServerLoad(0, 0)
    before = len(world.kubernetes.writes)
    for _ in range(int(seconds / step)):
        kubelet()
        await world.round()
        world.clock.advance(step)
    return Counter(f"{write.verb} {write.kind}" for write in world.kubernetes.writes[before:])


def fail_pods(world: World, **labels: str) -> Callable[[], None]:
    """Return a kubelet by which each pod ends at once."""

    def kubelet() -> None:
        for key, pod in list(world.kubernetes.objects.items()):
            ours = key[0] == "Pod" and labels.items() <= pod["metadata"]["labels"].items()
            if ours and pod["status"].get("phase") == "Pending":
                status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
                world.kubernetes.edit("Pod", key[1], key[2], status, status=True)

    return kubelet


def degraded(world: World, kind: str, name: str) -> Manifest:
    conditions = world.get(kind, name)["status"]["conditions"]
    assert any(c["type"] == "Degraded" for c in conditions), conditions
    return manifests.condition(world.get(kind, name), "Degraded")


async def test_pods_of_a_pool_that_end_at_once(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(replicas=3))
    writes = await live(world, 10 * MINUTE, kubelet=fail_pods(world, **{LABEL_COMPONENT: "agent"}))
    assert 6 <= writes["create Pod"] <= 24, "three at once, three again, and then each round later than the one before"
    told = degraded(world, "VoiceAgentPool", "front-desk")
    assert (told["status"], told["reason"]) == ("True", "BackingOff")
    assert "Evicted: The node was low on resource: memory" in told["message"]
    assert "The next one is made at 2026-03-01T12:" in told["message"]
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "BackingOff")
    assert len(world.agent_pods()) == 3, "those that ended last stay to be looked at"

    # Whoever put right what was wrong need not wait.
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"resources": {}, "idleProcesses": 1}})
    await world.settle()
    world.run_pods()
    await live(world, 2 * MINUTE)
    assert world.ready("VoiceAgentPool", "front-desk")[0] == "True"
    assert all(c["type"] != "Degraded" for c in world.get("VoiceAgentPool", "front-desk")["status"]["conditions"])


async def test_an_operator_that_starts_sees_what_has_just_ended(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(replicas=3))
    kubelet = fail_pods(world, **{LABEL_COMPONENT: "agent"})
    await live(world, 2 * MINUTE, kubelet=kubelet)
    world.context.brakes.clear()
    world.context.pools.clear()
    assert (await live(world, MINUTE, kubelet=kubelet))["create Pod"] <= 9


async def test_a_pod_that_is_evicted_after_it_served_is_replaced_at_once(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    for _ in range(5):
        world.clock.advance(11 * MINUTE)
        (pod,) = world.agent_pods()
        evicted = {"phase": "Failed", "reason": "Evicted"}
        world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], evicted, status=True)
        await world.settle()
        (another,) = world.agent_pods()
        assert another["metadata"]["uid"] != pod["metadata"]["uid"]
        world.run_pods()
        await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk")[0] == "True"


async def test_a_pool_that_grows_to_fifty_is_not_slowed(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=0)
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"replicas": 50}})
    for _ in range(3):
        await world.reconcile("VoiceAgentPool", "front-desk")
    assert len(world.agent_pods()) == 50
    world.run_pods()
    await world.settle()
    # Once more all of them, without a change of the spec.
    world.kubernetes.edit("Secret", NAMESPACE, "providers", {"data": manifests.secret("x", deepgram="new")["data"]})
    for _ in range(20):
        await world.round()
        world.run_pods()
        world.end_pods()
    assert world.condition("VoiceAgentPool", "front-desk", "Progressing") == ("False", "UpToDate")
    assert world.ready("VoiceAgentPool", "front-desk")[0] == "True"


async def test_servers_that_end_at_once(world: World) -> None:
    world.kubernetes.put(manifests.server(**SERVER))
    world.give_node_ports()
    kubelet = fail_pods(world, **{LABEL_COMPONENT: COMPONENT_SERVER})

    def cluster() -> None:
        world.give_node_ports()
        kubelet()

    writes = await live(world, 10 * MINUTE, kubelet=cluster)
    assert 4 <= writes["create Pod"] <= 18
    assert writes["create Service"] + writes["apply Service"] <= 40
    told = degraded(world, "LiveKitServer", "voice")
    assert (told["status"], told["reason"]) == ("True", "BackingOff")
    assert "Evicted" in told["message"]
    assert world.ready("LiveKitServer", "voice") == ("False", "BackingOff")
    assert writes["merge LiveKitServer"] <= 30


def strip(*path: str, kind: str, **labels: str) -> Callable[[Manifest], None]:
    """Return a policy that takes a field away from objects of a kind."""

    def policy(manifest: Manifest) -> None:
        if manifest["kind"] != kind or not labels.items() <= (manifest["metadata"].get("labels") or {}).items():
            return
        part: Any = manifest
        for key in path[:-1]:
            part = part.get(key) or {}
        part.pop(path[-1], None)

    return policy


async def test_servers_that_are_never_what_they_were_made_as(world: World) -> None:
    """Whatever the operator takes for another version: one server a second was made and let go, for ever."""
    component = {LABEL_COMPONENT: COMPONENT_SERVER}
    world.kubernetes.policies.append(strip("metadata", "labels", LABEL_REVISION, kind="Pod", **component))
    world.kubernetes.put(manifests.server(**SERVER))

    def kubelet() -> None:
        world.give_node_ports()
        world.run_server()
        for key in [key for key in world.kubernetes.objects if key[0] == "Pod" and "-check-" in key[2]]:
            world.kubernetes.logs[key[2]] = "TCP Ports"
            world.kubernetes.edit("Pod", key[1], key[2], {"phase": "Succeeded"}, status=True)

    writes = await live(world, 10 * MINUTE, kubelet=kubelet)
    assert 2 <= writes["create Pod"] <= 18
    told = degraded(world, "LiveKitServer", "voice")
    assert (told["status"], told["reason"]) == ("True", "BackingOff")
    assert writes["merge LiveKitServer"] <= 600


async def test_a_check_that_says_nothing_is_made_again_more_and_more_slowly(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"room": {"maxParticipants": 7}}})
    writes = await live(world, 10 * MINUTE, kubelet=fail_pods(world, **{LABEL_COMPONENT: COMPONENT_SERVER_CHECK}))
    assert 2 <= writes["create Pod"] <= 8
    assert degraded(world, "LiveKitServer", "voice")["reason"] == "BackingOff"
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready"), "the server that runs goes on"
    await world.pass_check()


async def everything(world: World) -> None:
    """Put a server, a pool and a room there that have every kind of child."""
    world.kubernetes.put(manifests.server(**SERVER))
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(replicas=2))
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}, {"identity": "bob"}], agents=[]))


def alive(world: World) -> None:
    world.give_node_ports()
    world.run_server()
    world.run_pods()
    world.end_pods()


def relabel(manifest: Manifest) -> None:
    """Change a label of everything that is applied, as a policy does."""
    if ANNOTATION_APPLIED in (manifest["metadata"].get("annotations") or {}):
        manifest["metadata"]["labels"]["app.kubernetes.io/name"] = "changed-by-a-policy"


def unannotate(manifest: Manifest) -> None:
    """Take all annotations off everything but resources."""
    if manifest["kind"] not in ("LiveKitServer", "VoiceAgentPool", "MeetingRoom"):
        manifest["metadata"].pop("annotations", None)


@pytest.mark.parametrize("policy", [relabel, unannotate])
async def test_a_policy_that_changes_what_is_applied(policy: Callable[[Manifest], None]) -> None:
    """Each kind of child is counted by itself; without a brake each is written at each pass."""
    world = World()
    await everything(world)
    await live(world, 20, step=4, kubelet=lambda: alive(world))
    assert set(child_kinds(TABLE)) <= {key[0] for key in world.kubernetes.objects}
    world.kubernetes.policies.append(policy)
    for key, manifest in list(world.kubernetes.objects.items()):
        policy(changed := copy.deepcopy(manifest))
        if changed != manifest:
            # A merge patch takes nothing away.
            world.kubernetes.vanish(*key)
            changed["metadata"].pop("resourceVersion")
            world.kubernetes.put(changed)
    writes = await live(world, 4 * MINUTE, step=4, kubelet=lambda: alive(world))
    for kind in child_kinds(TABLE):
        number = sum(key[0] == kind for key in world.kubernetes.objects)
        count = sum(count for what, count in writes.items() if what.split()[1] == kind and not what.startswith("del"))
        # Pods without our annotations are taken for another version's, which has a brake of its own.
        assert count <= (12 * number if kind != "Pod" else 80), (kind, number, writes)
    for kind, name in (("LiveKitServer", "voice"), ("VoiceAgentPool", "front-desk"), ("MeetingRoom", "support-42")):
        assert degraded(world, kind, name)["status"] == "True", kind


async def test_what_is_not_kept_is_told_and_then_put_right() -> None:
    world = World()
    world.kubernetes.policies.append(lambda manifest: relabel(manifest) if manifest["kind"] == "Deployment" else None)
    await everything(world)
    await live(world, 30, kubelet=lambda: alive(world))
    told = degraded(world, "LiveKitServer", "voice")
    assert (told["status"], told["reason"]) == ("True", "ChildChanged")
    for word in ("Deployment voice-redis", "metadata.labels[app.kubernetes.io/name]", "admission policy or webhook"):
        assert word in told["message"]
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready"), "it works all the same"
    events = [event for event in world.events() if event[1] == "ChildChanged"]
    assert len(events) == 1

    world.kubernetes.policies.clear()
    await live(world, 6 * MINUTE, step=5, kubelet=lambda: alive(world))
    told = degraded(world, "LiveKitServer", "voice")
    assert told["status"] == "False"
    labels = world.get("Deployment", "voice-redis")["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "redis"


async def test_a_pool_whose_objects_a_policy_labels_is_ready_and_notes_what_it_has_to(world: World) -> None:
    """The note that its version serves waited behind the write of what the Secret had been before."""
    world.kubernetes.policies.append(relabel)
    await everything(world)
    await live(world, 30, step=1, kubelet=lambda: alive(world))
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    assert degraded(world, "VoiceAgentPool", "front-desk")["reason"] == "ChildChanged"
    (records,) = manifests.decoded(world.get("Secret", "front-desk-agent-versions")).values()
    assert '"proven"' in records


async def test_what_is_created_otherwise_is_told_at_once(world: World) -> None:
    """A room is not looked at again for a while."""
    await world.with_server()
    world.kubernetes.policies.append(relabel)
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await world.reconcile("MeetingRoom", "support-42")
    told = degraded(world, "MeetingRoom", "support-42")
    assert (told["status"], told["reason"]) == ("True", "ChildChanged")
    assert "Secret support-42-alice is not kept" in told["message"]
    assert world.ready("MeetingRoom", "support-42")[0] == "True"

    world.kubernetes.policies.clear()
    await live(world, 20)
    assert all(c["type"] != "Degraded" for c in world.get("MeetingRoom", "support-42")["status"]["conditions"])
    labels = world.get("Secret", "support-42-alice")["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] != "changed-by-a-policy"


async def test_what_a_person_changes_is_put_back_at_once(world: World) -> None:
    await world.with_server()
    for number in range(3):
        world.kubernetes.edit("Service", NAMESPACE, "voice-livekit", {"spec": {"type": f"Odd{number}"}})
        await world.reconcile("LiveKitServer", "voice")
        assert not world.get("Service", "voice-livekit")["spec"]["type"].startswith("Odd")
        world.clock.advance(5)
    assert degraded(world, "LiveKitServer", "voice")["status"] == "False"


async def test_what_another_controller_changes_again_and_again_is_left_for_a_while() -> None:
    world = World()
    await world.with_server()

    theirs = {"manager": "their-controller", "operation": "Apply", "fieldsV1": {"f:spec": {"f:type": {}}}}

    def another() -> None:
        change = {"metadata": {"managedFields": [theirs]}, "spec": {"type": "Odd"}}
        world.kubernetes.edit("Service", NAMESPACE, "voice-livekit", change)

    writes = await live(world, 5 * MINUTE, kubelet=another)
    assert writes["apply Service"] + writes["merge Service"] <= 17
    told = degraded(world, "LiveKitServer", "voice")
    assert (told["status"], told["reason"]) == ("True", "ChildChanged")
    assert "Service voice-livekit was changed or removed again and again" in told["message"]
    assert "spec.type was changed by their-controller. Have it leave spec.type" in told["message"]


async def test_children_that_are_removed_again_and_again() -> None:
    world = World()
    await world.with_server()

    def another() -> None:
        if world.kubernetes.peek("PodDisruptionBudget", NAMESPACE, "voice-livekit"):
            world.kubernetes.vanish("PodDisruptionBudget", NAMESPACE, "voice-livekit")

    writes = await live(world, 5 * MINUTE, kubelet=another)
    assert 10 <= writes["apply PodDisruptionBudget"] <= 17
    assert degraded(world, "LiveKitServer", "voice")["reason"] == "ChildChanged"


@pytest.mark.parametrize(
    ("kind", "name", "field"),
    [
        ("LiveKitServer", "voice", "selector"),
        ("VoiceAgentPool", "front-desk", "desiredReason"),
        ("MeetingRoom", "support-42", "sid"),
    ],
)
async def test_a_status_that_is_not_kept(kind: str, name: str, field: str) -> None:
    """An older CustomResourceDefinition does not know each field."""
    world = World()
    world.kubernetes.policies.append(strip("status", field, kind=kind))
    await everything(world)
    await live(world, 20, kubelet=lambda: alive(world))
    writes = await live(world, 5 * MINUTE, kubelet=lambda: alive(world))
    assert writes[f"merge {kind}"] <= 12
    told = degraded(world, kind, name)
    assert (told["status"], told["reason"]) == ("True", "StatusChanged")
    assert f"status.{field}" in told["message"]
    assert "CustomResourceDefinitions" in told["message"]


async def test_whatever_writes_without_end_is_slowed_and_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.with_server()

    async def restless(context: Any, _: Any) -> None:
        for _ in "four":
            await context.kubernetes.merge("Service", NAMESPACE, "voice-livekit", {"metadata": {"labels": {"a": "b"}}})

    with monkeypatch.context() as patched:
        patched.setattr("livekit_operator.servers.prepare.ensure_redis", restless)
        writes = await live(world, 1.5 * MINUTE, step=0.5)
        assert writes["merge Service"] <= 500
        told = degraded(world, "LiveKitServer", "voice")
        assert (told["status"], told["reason"]) == ("True", "TooManyWrites")
        assert writes["merge LiveKitServer"] <= 5
    world.clock.advance(120)
    await live(world, 2 * MINUTE)
    assert degraded(world, "LiveKitServer", "voice")["status"] == "False"


async def test_a_room_with_five_hundred_identities_is_not_slowed(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room(generateTokens={"identityPrefix": "guest", "count": 500}))
    await world.reconcile("MeetingRoom", "support-42")
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    await world.reconcile("MeetingRoom", "support-42")
    assert len(world.get("MeetingRoom", "support-42")["status"]["tokens"]) == 500
    assert all(c["type"] != "Degraded" for c in world.get("MeetingRoom", "support-42")["status"]["conditions"])
