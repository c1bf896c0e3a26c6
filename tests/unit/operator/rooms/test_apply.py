"""What is done about a room, and in which order: its claim, the room, its tokens, its agents."""

from typing import Any

import pytest

from livekit_operator.clients.kubernetes import WatchEvent
from livekit_operator.constants import ANNOTATION_CLAIM
from livekit_operator.views import RoomSettings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World
from tests.unit.operator.rooms.life import ROOM, opened, settings


async def test_who_comes_as_soon_as_there_is_a_token_is_no_stranger(world: World) -> None:
    await world.with_server()

    def come(event: WatchEvent) -> None:
        if event.object["metadata"]["name"] == f"{ROOM}-alice":
            if ROOM not in world.livekit.rooms:
                world.livekit.start_room(RoomSettings(ROOM, 0, 300, 20, ""))
            world.livekit.join(ROOM, "alice")

    world.kubernetes.listeners.append(come)
    await opened(world, tokens=[{"identity": "alice"}])
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")
    assert settings(world).max_participants == 10
    assert "alice" in world.livekit.rooms[ROOM].participants


@pytest.mark.parametrize("own", [False, True], ids=["taken over", "its claim was taken off"])
@pytest.mark.parametrize("joins", [False, True], ids=["nobody joins", "somebody joins"])
async def test_who_joins_while_a_claim_is_written_keeps_the_room(
    world: World, monkeypatch: pytest.MonkeyPatch, *, own: bool, joins: bool
) -> None:
    await world.with_server()
    world.clock.advance(60)
    if own:
        world.kubernetes.put(manifests.room())
        await world.settle()
        off: Manifest = {"metadata": {"annotations": {ANNOTATION_CLAIM: None}}, "spec": {"maxParticipants": 3}}
        world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, off)
    else:
        world.livekit.start_room(RoomSettings(ROOM, 7, 300, 20, ""))
        await world.reconcile("LiveKitServer", "voice")
        world.kubernetes.put(manifests.room(adopt=True, maxParticipants=3))
    sid, merge = world.livekit.rooms[ROOM].sid, world.kubernetes.merge

    async def join_meanwhile(kind: str, *request: Any, **how: Any) -> Manifest:
        if joins and (kind, world.livekit.rooms[ROOM].participants) == ("MeetingRoom", {}):
            world.livekit.join(ROOM, "bob")
        return await merge(kind, *request, **how)

    monkeypatch.setattr(world.kubernetes, "merge", join_meanwhile)
    await world.reconcile("MeetingRoom", ROOM)
    assert list(world.livekit.rooms[ROOM].participants) == (["bob"] if joins else [])
    assert (world.livekit.rooms[ROOM].sid == sid) is joins, "an empty one is made anew at once"
    room = world.get("MeetingRoom", ROOM)
    assert ANNOTATION_CLAIM in room["metadata"]["annotations"]
    pending = [one for one in room["status"]["conditions"] if one["type"] == "SettingsApplied"]
    assert [one["reason"] for one in pending] == (["PendingRecreate"] if joins else [])


async def test_a_namespace_that_is_allowed_no_more_keeps_no_secret(world: World) -> None:
    await world.with_server(allowedNamespaces=["friends"])
    reference = {"name": "voice", "namespace": NAMESPACE}
    world.kubernetes.put(manifests.room(namespace="friends", serverRef=reference, tokens=[{"identity": "alice"}]))
    await world.settle()
    assert world.kubernetes.names("Secret", "friends") == ["support-42-alice"]
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"allowedNamespaces": []}})
    await world.settle()
    assert world.ready("MeetingRoom", "support-42", "friends") == ("False", "ServerNotAllowed")
    assert world.kubernetes.names("Secret", "friends") == []


async def test_a_room_that_is_somebody_elses_after_all_has_no_claim_left(world: World) -> None:
    """It was not listed yet: the claim was written before the server showed it."""
    await world.with_server()
    world.livekit.start_room(RoomSettings(ROOM, 0, 300, 20, "theirs"))
    world.kubernetes.put(manifests.room())
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "RoomExists")
    assert ANNOTATION_CLAIM not in (world.get("MeetingRoom", ROOM)["metadata"].get("annotations") or {})


async def test_a_call_of_a_room_that_may_not_use_its_server_is_no_demand(world: World) -> None:
    await world.with_server(allowedNamespaces=["friends"])
    await world.with_pool(replicas=0, allowedNamespaces=["friends"])
    agents = [{"poolRef": {"name": "front-desk", "namespace": NAMESPACE}}]
    there = {"name": "voice", "namespace": NAMESPACE}
    world.kubernetes.put(manifests.room(namespace="friends", serverRef=there, agents=agents))
    await world.settle()
    world.livekit.join(f"friends/{ROOM}", "alice")
    await world.settle()
    memory = world.context.pools[NAMESPACE, "front-desk"]
    assert list(memory.waiting) == [("friends", ROOM)]
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"allowedNamespaces": []}})
    await world.reconcile("MeetingRoom", ROOM, "friends")
    assert memory.waiting == {}
