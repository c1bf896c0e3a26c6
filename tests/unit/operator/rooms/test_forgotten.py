"""Redis forgets a room that its server goes on with: it is deleted, made anew, changed and left all the same."""

from typing import Any

import pytest

from livekit_operator.constants import ANNOTATION_RECREATE
from livekit_operator.errors import RoomUnplaced
from livekit_operator.views import ServerLoad
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.rooms.life import ROOM, change, look, opened, settings, sid


async def forgotten(world: World, **spec: Any) -> None:
    """Have somebody in a room that Redis has forgotten."""
    world.loads.otherwise = ServerLoad(0, 0)  # each server tells that it finds Redis
    await world.with_server(redis={"address": "redis.example.com:6379"})
    await opened(world, **spec)
    world.livekit.join(ROOM, "alice")
    await look(world)
    world.livekit.unlisted.add(ROOM)


async def deleted(world: World) -> float | None:
    """Delete the MeetingRoom and look at it once; return when it is looked at again."""
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, ROOM)
    world.forget()
    return await world.reconcile("MeetingRoom", ROOM)


def asked(world: World) -> list[str]:
    """Return what the server was asked, but for listings of rooms."""
    return [request[0] for request in world.livekit.requests if request[0] != "list_rooms"]


@pytest.mark.parametrize("listed", [False, True], ids=["not listed yet", "found by CreateRoom"])
async def test_its_people_leave_when_it_is_deleted(world: World, listed: bool) -> None:
    await forgotten(world)
    if listed:
        await look(world)
    await deleted(world)
    assert asked(world) == ["delete_room", "list_dispatches", "delete_forgotten"]
    assert world.livekit.rooms == {}
    assert world.kubernetes.names("MeetingRoom") == []
    assert ("Warning", "RoomNotDeleted") not in [event[:2] for event in world.events()]


async def test_one_whose_node_alone_is_forgotten_is_deleted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody left it since, which has it listed again."""
    await forgotten(world)
    world.livekit.unlisted.clear()

    async def unplaced(_: str) -> bool:
        raise RoomUnplaced("unknown: could not find object")

    monkeypatch.setattr(world.livekit, "delete_room", unplaced)
    await deleted(world)
    assert asked(world) == ["delete_forgotten"]
    assert world.livekit.rooms == {}
    assert world.kubernetes.names("MeetingRoom") == []


@pytest.mark.parametrize(
    ("gone", "requests"),
    [
        pytest.param("closed, the server said", ["delete_room"], id="closed, the server said"),
        pytest.param("closed", ["delete_room", "list_dispatches"], id="closed"),
        pytest.param("known", ["delete_room"], id="known to Redis"),
    ],
)
async def test_what_is_no_more_or_known_costs_little(world: World, gone: str, requests: list[str]) -> None:
    await forgotten(world)
    if gone == "known":
        world.livekit.unlisted.clear()
    else:
        world.livekit.close_room(ROOM)
    if gone == "closed, the server said":
        world.context.servers[NAMESPACE, "voice"].rooms.close(ROOM, sid(world))
    await deleted(world)
    assert asked(world) == requests
    assert world.kubernetes.names("MeetingRoom") == []
    assert world.livekit.rooms == {}


async def test_without_redis_nothing_is_forgotten_and_a_deletion_is_one_request(world: World) -> None:
    await opened(world)
    world.livekit.close_room(ROOM)
    await deleted(world)
    assert asked(world) == ["delete_room"]


async def test_one_that_another_node_has_is_deleted_at_the_next_try(world: World) -> None:
    await forgotten(world)
    world.livekit.keeps = 1
    assert await deleted(world) == 2.0
    assert world.ready("MeetingRoom", ROOM) == ("False", "Deleting")
    assert "goes on with the room" in world.message("MeetingRoom", ROOM)
    await world.reconcile("MeetingRoom", ROOM)
    assert world.livekit.rooms == {}
    assert world.kubernetes.names("MeetingRoom") == []


async def test_one_that_does_not_go_is_let_go_after_a_minute(world: World) -> None:
    await forgotten(world)
    world.livekit.keeps = 99
    await deleted(world)
    world.clock.advance(60)
    await world.reconcile("MeetingRoom", ROOM)
    assert world.kubernetes.names("MeetingRoom") == []
    assert ("Warning", "RoomNotDeleted") in [event[:2] for event in world.events()]


@pytest.mark.parametrize("keeps", [0, 2])
async def test_it_is_made_anew(world: World, keeps: int) -> None:
    await forgotten(world)
    before, world.livekit.keeps = sid(world), keeps
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"metadata": {"annotations": {ANNOTATION_RECREATE: "1"}}})
    for _ in range(keeps):
        await world.reconcile("MeetingRoom", ROOM)
        assert world.ready("MeetingRoom", ROOM) == ("False", "Recreating")
        assert world.livekit.rooms[ROOM].sid == before
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")
    assert sid(world) == world.livekit.rooms[ROOM].sid != before


async def test_its_metadata_is_changed(world: World) -> None:
    await forgotten(world, metadata="old")
    await look(world)
    change(world, metadata="new")
    await look(world)
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")
    assert settings(world).metadata == "new"
    assert "alice" in world.livekit.rooms[ROOM].participants


async def test_whose_token_is_revoked_leaves_it(world: World) -> None:
    bob = {"identity": "bob"}
    await forgotten(world, tokens=[{"identity": "alice", "revoke": True}, bob])
    world.livekit.join(ROOM, "bob")
    world.livekit.unlisted.add(ROOM)
    await look(world)
    change(world, tokens=[bob])
    await look(world)
    assert list(world.livekit.rooms[ROOM].participants) == ["bob"]
