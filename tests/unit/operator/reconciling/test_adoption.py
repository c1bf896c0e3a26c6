"""Children that a former resource of the same name left: taken over where they prove to be the operator's."""

from typing import Any

import pytest

from livekit_operator.views import RoomSettings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest, decoded
from tests.fakes.world import World

LABELS = {
    "app.kubernetes.io/managed-by": "livekit-operator",
    "app.kubernetes.io/name": "livekit-server",
    "app.kubernetes.io/instance": "voice",
    "app.kubernetes.io/component": "server",
}
OWNER = {"apiVersion": "livekit-operator.dev/v1alpha1", "kind": "LiveKitServer", "name": "voice", "uid": "dead"}
ways = pytest.mark.parametrize("way", ["orphaned", "a dead uid"])


def leave(world: World, kind: str, name: str, way: str) -> list[tuple[str, str]]:
    """Delete a resource and leave its children; return their kinds and names."""
    owner = world.get(kind, name)
    left = []
    for child in list(world.kubernetes.objects.values()):
        references = child["metadata"].get("ownerReferences") or []
        if not any(reference["uid"] == owner["metadata"]["uid"] for reference in references):
            continue
        after = None if way == "orphaned" else [{**reference, "uid": "dead"} for reference in references]
        key = child["kind"], child["metadata"]["name"]
        world.kubernetes.edit(key[0], NAMESPACE, key[1], {"metadata": {"ownerReferences": after}})
        left.append(key)
    world.kubernetes.vanish(kind, NAMESPACE, name)
    return left


def owners(world: World, left: list[tuple[str, str]]) -> set[str]:
    """Return the uids of the controllers of what was left."""
    found = [world.get(*key)["metadata"]["ownerReferences"] for key in left]
    return {reference["uid"] for references in found for reference in references if reference["controller"]}


def adopted(world: World) -> list[str]:
    return [message for _, reason, message in world.events() if reason == "Adopted"]


@ways
async def test_a_servers_children_go_on_with_its_key_and_its_calls(world: World, way: str) -> None:
    await world.with_server()
    keys = decoded(world.get("Secret", "voice-livekit-keys"))
    world.livekit.start_room(RoomSettings("call", 10, 300, 20, ""))
    world.livekit.join("call", "alice")
    await world.settle()
    (serving,) = world.server_pods()
    left = leave(world, "LiveKitServer", "voice", way)
    assert {("Secret", "voice-livekit-keys"), ("Pod", "voice-livekit-0")} <= set(left)
    world.context.key_states.clear()
    made = world.kubernetes.put(manifests.server())
    world.forget()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert decoded(world.get("Secret", "voice-livekit-keys")) == keys
    assert [pod["metadata"]["uid"] for pod in world.server_pods()] == [serving["metadata"]["uid"]]
    assert owners(world, left) == {made["metadata"]["uid"]}
    assert not [what for what in world.written() if what.startswith(("delete", "create Pod"))]
    assert len(adopted(world)) == len(left)
    assert await world.writes_of_another_round() == []


@ways
async def test_a_pools_children_go_on_with_its_calls_and_its_versions(world: World, way: str) -> None:
    await world.with_server()
    await world.with_pool()
    world.clock.advance(60)
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"sessionsPerPod": 2}})
    for _ in range(4):
        world.run_pods()
        await world.settle()
        world.end_pods()
    (serving,) = world.agent_pods()
    world.say(serving, sessions=1)
    await world.settle()
    pool = world.get("VoiceAgentPool", "front-desk")
    left = leave(world, "VoiceAgentPool", "front-desk", way)
    world.context.pools.clear()
    made = world.kubernetes.put(manifests.pool(sessionsPerPod=2))
    world.forget()
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    assert [pod["metadata"]["uid"] for pod in world.agent_pods()] == [serving["metadata"]["uid"]]
    assert world.get("VoiceAgentPool", "front-desk")["status"]["versions"] == pool["status"]["versions"]
    assert owners(world, left) == {made["metadata"]["uid"]}
    assert not [what for what in world.written() if what.startswith(("delete", "create Pod"))]
    assert await world.writes_of_another_round() == []


@ways
async def test_a_rooms_tokens_stay_as_they_are(world: World, way: str) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}, {"identity": "bob"}]))
    await world.settle()
    token = decoded(world.get("Secret", "support-42-alice"))["token"]
    left = leave(world, "MeetingRoom", "support-42", way)
    world.livekit.close_room("support-42")
    made = world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}, {"identity": "bob"}]))
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    assert decoded(world.get("Secret", "support-42-alice"))["token"] == token
    assert owners(world, left) == {made["metadata"]["uid"]}


FIRST = "the operator", "the garbage collector", "the garbage collector before the operator is back"


async def orphan(world: World, kind: str, name: str, first: str) -> list[tuple[str, str]]:
    """Delete a resource with `--cascade=orphan`; return kinds and names of what it leaves."""
    world.kubernetes.ask_to_orphan(kind, NAMESPACE, name)
    if first == FIRST[0]:
        await world.round()
    left = world.kubernetes.orphan_children(kind, NAMESPACE, name)
    if first == FIRST[2]:
        world.context.orphaning.clear()  # nothing tells of it any more
    await world.round()
    assert world.kubernetes.peek(kind, NAMESPACE, name) is None
    return left


@pytest.mark.parametrize("first", FIRST)
async def test_a_server_that_is_orphaned_goes_on_with_its_calls(world: World, first: str) -> None:
    await world.with_server()
    keys = decoded(world.get("Secret", "voice-livekit-keys"))
    world.livekit.start_room(RoomSettings("call", 10, 300, 20, ""))
    world.livekit.join("call", "alice")
    await world.settle()
    (serving,) = world.server_pods()
    world.forget()
    left = await orphan(world, "LiveKitServer", "voice", first)
    assert {what.split("/")[0] for what in world.written()} <= {"merge LiveKitServer"}
    made = world.kubernetes.put(manifests.server())
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert decoded(world.get("Secret", "voice-livekit-keys")) == keys
    assert [pod["metadata"]["uid"] for pod in world.server_pods()] == [serving["metadata"]["uid"]]
    assert owners(world, left) == {made["metadata"]["uid"]}
    assert list(world.livekit.rooms) == ["call"]


@pytest.mark.parametrize("first", FIRST[:2])
async def test_a_room_that_is_orphaned_stays_with_who_is_in_it(world: World, first: str) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await world.settle()
    world.livekit.join("support-42", "alice")
    await world.settle()
    token, sid = decoded(world.get("Secret", "support-42-alice"))["token"], world.livekit.rooms["support-42"].sid
    left = await orphan(world, "MeetingRoom", "support-42", first)
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("False", "RoomExists"), "it may be somebody else's by now"
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"adopt": True}})
    await world.settle()
    made = world.get("MeetingRoom", "support-42")
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    assert owners(world, left) == {made["metadata"]["uid"]}
    assert decoded(world.get("Secret", "support-42-alice"))["token"] == token
    assert (made["status"]["sid"], made["status"]["participants"]) == (sid, 1)


def keys_secret(**metadata: Any) -> Manifest:
    """Return a Secret at the name of a server's keys, with a key that somebody else knows."""
    secret = manifests.keys_secret("voice-livekit-keys")
    return {**secret, "metadata": {**secret["metadata"], "labels": LABELS, **metadata}}


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({}, "nothing else of a former server of this name is there"),
        ({"ownerReferences": [{**OWNER, "controller": True}]}, "nothing else of a former server"),
        ({"labels": {}}, "it has not the labels by which the operator knows its own: app.kubernetes.io/managed-by="),
        ({"labels": {**LABELS, "app.kubernetes.io/instance": "other"}}, "app.kubernetes.io/instance=voice"),
        ({"ownerReferences": [{**OWNER, "name": "other", "controller": True}]}, "LiveKitServer other controls it"),
        (
            {"ownerReferences": [{**OWNER, "kind": "Job", "apiVersion": "batch/v1", "controller": True}]},
            "Job voice controls it",
        ),
        ({"finalizers": ["a/b"], "deletionTimestamp": "2026-03-01T12:00:00Z"}, "it is being deleted"),
    ],
)
async def test_keys_that_nothing_vouches_for_are_left_alone(world: World, metadata: dict[str, Any], why: str) -> None:
    foreign = world.kubernetes.put(keys_secret(**metadata))
    world.kubernetes.put(manifests.server())
    await world.settle()
    assert world.get("Secret", "voice-livekit-keys") == foreign
    assert world.ready("LiveKitServer", "voice") == ("False", "NotOwned")
    assert why in world.message("LiveKitServer", "voice")
    assert "name the copy in spec.keysSecretRef" in world.message("LiveKitServer", "voice")
    assert world.server_pods() == []


async def test_an_object_that_is_only_called_like_a_child_is_left_alone(world: World) -> None:
    foreign = world.kubernetes.put(
        {"kind": "ServiceAccount", "metadata": {"name": "voice-livekit", "namespace": NAMESPACE}}
    )
    world.kubernetes.put(manifests.server())
    await world.settle()
    assert world.get("ServiceAccount", "voice-livekit") == foreign
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "NotOwned")


async def test_references_of_others_stay_beside_the_new_owner(world: World) -> None:
    await world.with_server()
    (serving,) = world.server_pods()
    leave(world, "LiveKitServer", "voice", "orphaned")
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "mine"}
    world.kubernetes.edit("Pod", NAMESPACE, "voice-livekit-0", {"metadata": {"ownerReferences": [other]}})
    made = world.kubernetes.put(manifests.server())
    await world.settle()
    references = world.get("Pod", serving["metadata"]["name"])["metadata"]["ownerReferences"]
    assert [reference["uid"] for reference in references] == ["mine", made["metadata"]["uid"]]


async def test_a_server_whose_label_was_taken_off_is_found_again(world: World) -> None:
    await world.with_server()
    (serving,) = world.server_pods()
    name = serving["metadata"]["name"]
    for label in ("managed-by", "component"):
        off = {"metadata": {"labels": {f"app.kubernetes.io/{label}": None}}}
        world.kubernetes.edit("Pod", NAMESPACE, name, off)
        await world.settle()
        assert world.get("Pod", name)["metadata"]["labels"] == serving["metadata"]["labels"]
        assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
