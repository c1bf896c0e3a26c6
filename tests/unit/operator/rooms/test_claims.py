"""Whose the room on the server is: a claim that only the operator can make says so, nothing that others may write."""

from datetime import timedelta
from typing import Any

import pytest

from livekit_operator.constants import ANNOTATION_CLAIM, ANNOTATION_CLAIMS_SINCE, ROOM_FINALIZER
from livekit_operator.errors import ServerUnreachable
from livekit_operator.moments import timestamp
from livekit_operator.views import RoomSettings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World

ROOM = "support-42"
KEYS = "voice-livekit-keys"


def room(world: World, name: str = ROOM) -> Manifest:
    return world.get("MeetingRoom", name)


async def with_strangers_room(world: World) -> str:
    """Put a room on a server that no resource made; return its id."""
    await world.with_server()
    world.livekit.start_room(RoomSettings(ROOM, 4, 300, 20, "theirs"))
    world.livekit.join(ROOM, "bob")
    await world.settle()
    return world.livekit.rooms[ROOM].sid


def forged(world: World, sid: str, *, claim: str | None = None, **spec: Any) -> Manifest:
    """Put a resource there that looks as if it had that room."""
    manifest = manifests.room(**spec)
    manifest["metadata"] |= {"finalizers": [ROOM_FINALIZER], "annotations": {ANNOTATION_CLAIM: claim} if claim else {}}
    manifest["status"] = {"sid": sid, "observedGeneration": 1}
    return world.kubernetes.put(manifest)


@pytest.mark.parametrize("claim", [None, "", "0" * 32, "é"])
async def test_neither_a_finalizer_nor_a_status_takes_a_room_over(world: World, claim: str | None) -> None:
    sid = await with_strangers_room(world)
    world.clock.advance(60)
    forged(world, sid, claim=claim, tokens=[{"identity": "mallory"}])
    world.forget()
    await world.settle()
    assert world.ready("MeetingRoom", ROOM) == ("False", "RoomExists")
    assert world.kubernetes.names("Secret") == [KEYS]
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, ROOM)
    await world.settle()
    assert world.kubernetes.names("MeetingRoom") == []
    assert "bob" in world.livekit.rooms[ROOM].participants
    assert world.livekit.writes == []


async def test_a_claim_is_of_one_resource_alone(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    await world.settle()
    claim = room(world)["metadata"]["annotations"][ANNOTATION_CLAIM]
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, ROOM)
    await world.settle()
    world.livekit.start_room(RoomSettings(ROOM, 4, 300, 20, "theirs"))
    await world.settle()
    world.clock.advance(60)
    forged(world, world.livekit.rooms[ROOM].sid, claim=claim)
    await world.settle()
    assert world.ready("MeetingRoom", ROOM) == ("False", "RoomExists")


async def test_a_written_status_does_not_end_a_strangers_room_that_is_not_listed_yet(world: World) -> None:
    await world.with_server()
    world.clock.advance(60)
    world.livekit.start_room(RoomSettings(ROOM, 4, 300, 20, "theirs"))
    forged(world, "RM_former", persistent=False)
    world.forget()
    await world.reconcile("MeetingRoom", ROOM)
    assert world.livekit.asked("delete_room") == 0
    assert world.ready("MeetingRoom", ROOM) == ("False", "RoomExists")
    assert ANNOTATION_CLAIM not in room(world)["metadata"]["annotations"], "it appeared meanwhile"


async def test_rooms_of_before_there_were_claims_go_on_without_a_write(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await world.settle()
    off: Manifest = {"metadata": {"annotations": {ANNOTATION_CLAIM: None}}}
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, off)
    world.clock.advance(60)
    world.context.claims.clear()
    world.context.key_states.clear()
    since = {"metadata": {"annotations": {ANNOTATION_CLAIMS_SINCE: None}}}
    world.kubernetes.edit("Secret", NAMESPACE, KEYS, since)
    world.forget()
    await world.settle()
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")
    assert world.written() == [f"apply Secret/{KEYS}"]
    assert world.get("Secret", KEYS)["metadata"]["annotations"][ANNOTATION_CLAIMS_SINCE] == timestamp(world.clock())
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, ROOM)
    await world.settle()
    assert world.livekit.rooms == {}


async def test_a_claim_that_somebody_takes_off_is_put_back(world: World) -> None:
    await world.with_server()
    world.clock.advance(60)
    world.kubernetes.put(manifests.room())
    await world.settle()
    claim = room(world)["metadata"]["annotations"][ANNOTATION_CLAIM]
    for patch in ({"annotations": None}, {"annotations": {ANNOTATION_CLAIM: "mine"}, "finalizers": None}):
        world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"metadata": patch})
        await world.settle()
        assert room(world)["metadata"]["annotations"][ANNOTATION_CLAIM] == claim
        assert room(world)["metadata"]["finalizers"] == [ROOM_FINALIZER]
        assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")


async def test_claims_go_along_with_a_rotation_of_keys(world: World) -> None:
    await world.with_server(keyRotation={"id": "a", "graceSeconds": 0})
    world.clock.advance(60)
    world.kubernetes.put(manifests.room())
    await world.settle()
    claim = room(world)["metadata"]["annotations"][ANNOTATION_CLAIM]
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"keyRotation": {"id": "b"}}})
    for _ in range(6):
        await world.pass_check()
        world.clock.now += timedelta(seconds=31)
        await world.settle()
        world.run_server()
        await world.settle()
    assert world.get("LiveKitServer", "voice")["status"]["keys"]["phase"] == "Stable"
    assert room(world)["metadata"]["annotations"][ANNOTATION_CLAIM] != claim
    world.context.claims.clear()
    await world.settle()
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")


async def test_a_claim_that_is_taken_off_is_remembered_also_of_a_room_that_could_not_be_opened(world: World) -> None:
    await world.with_server()
    world.clock.advance(60)  # a room from before there were claims needs none
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.context.claims.clear()  # the operator starts
    world.livekit.close_room(ROOM)
    await world.reconcile("LiveKitServer", "voice")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"limits": {"metadataBytes": 2}}})
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"spec": {"metadata": "too long"}})
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "ServerLimitExceeded")
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"metadata": {"annotations": {ANNOTATION_CLAIM: None}}})
    world.livekit.start_room(RoomSettings(ROOM, 4, 300, 20, ""))
    await world.reconcile("LiveKitServer", "voice")
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"spec": {"metadata": None}})
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")


async def test_a_claim_that_is_taken_off_is_remembered_also_when_the_server_does_not_say_who_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.with_server()
    world.clock.advance(60)  # a room from before there were claims needs none
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.context.claims.clear()  # the operator starts

    async def unreachable(_name: str) -> Any:
        raise ServerUnreachable("refused")

    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"spec": {"maxParticipants": 3}})
    with monkeypatch.context() as patched:
        patched.setattr(world.livekit, "list_participants", unreachable)
        await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "ServerUnreachable")
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"metadata": {"annotations": {ANNOTATION_CLAIM: None}}})
    await world.settle()
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")
    assert ANNOTATION_CLAIM in room(world)["metadata"]["annotations"]
