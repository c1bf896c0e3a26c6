"""A room ends when nobody is in it any more, at its moment, or with the server's own room."""

from livekit_operator.errors import ServerUnreachable
from livekit_operator.views import RoomSettings, RoomView
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.rooms.life import ROOM, change, look, opened, settings, sid


async def test_a_room_that_is_not_persistent_takes_its_resource_along(world: World) -> None:
    await opened(world, persistent=False, tokens=[{"identity": "alice"}])
    assert (settings(world).empty_timeout, settings(world).departure_timeout) == (300, 20)
    world.livekit.close_room(ROOM)
    await look(world)
    assert ("Normal", "RoomEnded", "The server closed the room.") in world.events()
    await world.settle()
    assert world.kubernetes.names("MeetingRoom") == []
    assert world.kubernetes.names("Secret") == ["voice-livekit-keys"]
    assert world.livekit.rooms == {}


async def test_a_room_that_is_not_persistent_survives_that_redis_forgets_it(world: World) -> None:
    await opened(world, persistent=False, tokens=[{"identity": "alice"}])
    before = sid(world)
    world.livekit.join(ROOM, "alice")
    world.livekit.unlisted.add(ROOM)
    for _ in range(4):
        await look(world)
    assert world.kubernetes.names("MeetingRoom") == [ROOM]
    assert sid(world) == before
    world.livekit.unlisted.clear()
    world.livekit.close_room(ROOM)
    for _ in range(20):
        await look(world)
    await world.settle()
    assert world.kubernetes.names("MeetingRoom") == []
    assert world.livekit.rooms == {}


async def test_a_room_that_the_server_says_it_closed_is_not_asked_for(world: World) -> None:
    await opened(world, persistent=False)
    before = sid(world)
    world.livekit.close_room(ROOM)
    world.context.servers[NAMESPACE, "voice"].rooms.close(ROOM, before)
    world.forget()
    await world.reconcile("MeetingRoom", ROOM)
    assert world.livekit.asked("create_room") == 0
    await world.settle()
    assert world.kubernetes.names("MeetingRoom") == []


async def test_a_room_that_is_not_persistent_survives_that_it_is_made_anew(world: World) -> None:
    await opened(world, persistent=False)
    world.livekit.lingering = 1
    change(world, maxParticipants=3)
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "Recreating")
    await look(world)
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")


async def test_a_server_that_is_gone_after_the_deletion_does_not_end_a_room_that_is_made_anew(world: World) -> None:
    await opened(world, persistent=False)
    change(world, maxParticipants=3)
    whole = world.livekit.create_room

    async def unreachable(settings: RoomSettings) -> RoomView:
        raise ServerUnreachable("refused")

    world.livekit.create_room = unreachable  # type: ignore[method-assign]
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "Recreating")
    assert "refused" in world.message("MeetingRoom", ROOM)
    await look(world)
    assert world.kubernetes.names("MeetingRoom") == [ROOM]
    world.livekit.create_room = whole  # type: ignore[method-assign]
    await look(world)
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")
    assert settings(world).max_participants == 3


async def test_a_room_ends_when_it_has_been_empty_for_its_time(world: World) -> None:
    await opened(world, ttlSecondsAfterEmpty=60)
    assert world.get("MeetingRoom", ROOM)["status"]["emptySince"] == "2026-03-01T12:00:00Z"
    world.clock.advance(59)
    world.livekit.join(ROOM, "alice")
    await look(world)
    assert "emptySince" not in world.get("MeetingRoom", ROOM)["status"]
    world.clock.advance(600)
    world.livekit.leave(ROOM, "alice")
    assert await look(world) == 60
    world.clock.advance(59)
    await look(world)
    world.clock.advance(1)
    world.livekit.join(ROOM, "bob")
    await world.reconcile("MeetingRoom", ROOM)
    assert world.kubernetes.names("MeetingRoom") == [ROOM], "he came since the last listing"
    world.livekit.leave(ROOM, "bob")
    await look(world)
    world.clock.advance(60)
    await world.settle()
    assert world.kubernetes.names("MeetingRoom") == []
    assert ("Normal", "RoomEnded", "Nobody was in the room for 60 s.") in world.events()


async def test_who_has_joined_at_the_last_moment_is_told_at_once(world: World) -> None:
    await opened(world, ttlSecondsAfterEmpty=60)
    world.clock.advance(61)
    world.livekit.join(ROOM, "alice")  # no listing shows it yet
    await world.reconcile("MeetingRoom", ROOM)
    assert world.get("MeetingRoom", ROOM)["status"]["participantIdentities"] == ["alice"]


async def test_an_agent_does_not_keep_an_empty_room(world: World) -> None:
    await opened(world, ttlSecondsAfterEmpty=0)
    assert world.kubernetes.names("MeetingRoom") == []


async def test_a_room_ends_at_its_moment_and_no_token_outlives_it(world: World) -> None:
    await opened(world, expiresAt="2026-03-01T13:00:00Z", tokens=[{"identity": "alice"}])
    [token] = world.get("MeetingRoom", ROOM)["status"]["tokens"]
    assert token["expiresAt"] == "2026-03-01T13:00:00Z"
    assert await world.reconcile("MeetingRoom", ROOM) == 3600, "a token that cannot live longer is not renewed"
    world.livekit.join(ROOM, "alice")
    world.clock.advance(3600)
    await world.settle()
    assert world.kubernetes.names("MeetingRoom") == []
    assert world.livekit.rooms == {}


async def test_a_room_ends_at_its_moment_whatever_keeps_it_from_being_opened(world: World) -> None:
    world.kubernetes.put(manifests.room(expiresAt="2026-03-01T12:00:10Z"))
    again = await world.reconcile("MeetingRoom", ROOM)
    assert (world.ready("MeetingRoom", ROOM), again) == (("False", "ServerNotFound"), 10)
    world.clock.advance(10)
    await world.settle()
    assert world.kubernetes.names("MeetingRoom") == []


async def test_a_server_that_does_not_answer_ends_no_room(world: World) -> None:
    await opened(world, persistent=False)
    world.livekit.problem = ServerUnreachable("refused")
    await look(world)
    assert world.kubernetes.names("MeetingRoom") == [ROOM]
