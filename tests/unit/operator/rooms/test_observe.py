"""What a pass finds of a room: its server, whose the room is, and who came since the last listing."""

from livekit_operator.views import RoomSettings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.world import World
from tests.unit.operator.rooms.steps import opened


async def test_a_room_waits_for_its_server_by_name(world: World) -> None:
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("False", "ServerNotFound")
    world.kubernetes.put(manifests.server())
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("False", "ServerNotReady")
    assert "finalizers" not in world.get("MeetingRoom", "support-42")["metadata"], "there is nothing to clean up yet"
    world.run_server()
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")


async def test_another_namespace_must_be_allowed(world: World) -> None:
    await world.with_server(allowedNamespaces=["friends"])
    for namespace in ("guests", "friends"):
        reference = {"name": "voice", "namespace": NAMESPACE}
        world.kubernetes.put(manifests.room(namespace=namespace, serverRef=reference, tokens=[{"identity": "alice"}]))
    await world.settle()
    assert world.ready("MeetingRoom", "support-42", "guests") == ("False", "ServerNotAllowed")
    assert "adds guests to its spec.allowedNamespaces" in world.message("MeetingRoom", "support-42", "guests")
    assert world.kubernetes.names("Secret", "guests") == []
    assert world.ready("MeetingRoom", "support-42", "friends") == ("True", "Ready")
    assert decoded(world.get("Secret", "support-42-alice", "friends"))["room"] == "friends/support-42"
    assert sorted(world.livekit.rooms) == ["friends/support-42"]


async def test_two_resources_of_one_room_do_not_fight(world: World) -> None:
    await opened(world, "first", roomName="lobby", maxParticipants=2)
    world.clock.advance(1)
    await opened(world, "second", roomName="lobby", maxParticipants=3)
    assert world.ready("MeetingRoom", "first") == ("True", "Ready")
    assert world.ready("MeetingRoom", "second") == ("False", "NameConflict")
    assert "first" in world.message("MeetingRoom", "second")
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "second")
    await world.settle()
    assert "lobby" in world.livekit.rooms, "it was never the second one's to delete"
    world.kubernetes.put(manifests.room("second", roomName="lobby", maxParticipants=3))
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "first")
    await world.settle()
    assert world.ready("MeetingRoom", "second") == ("True", "Ready")
    assert world.livekit.rooms["lobby"].settings.max_participants == 3


async def test_a_caller_who_came_since_the_last_listing_is_not_thrown_out(world: World) -> None:
    await opened(world)
    world.livekit.join("support-42", "alice")
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"maxParticipants": 2}})
    await world.reconcile("MeetingRoom", "support-42")
    assert "alice" in world.livekit.rooms["support-42"].participants


async def test_who_is_in_a_room_is_asked_only_where_it_matters(world: World) -> None:
    await opened(world, ttlSecondsAfterEmpty=60)
    world.forget()
    await world.reconcile("MeetingRoom", "support-42")
    assert world.livekit.requests == []
    world.clock.advance(60)
    world.livekit.join("support-42", "alice")
    await world.reconcile("MeetingRoom", "support-42")
    # First because its time is over, then because it is known that somebody came.
    assert world.livekit.requests == [("list_participants", "support-42")] * 2
    assert world.get("MeetingRoom", "support-42")["status"]["participants"] == 1


async def test_who_is_in_a_room_of_somebody_elses_is_not_asked(world: World) -> None:
    await world.with_server()
    world.livekit.start_room(RoomSettings("support-42", 4, 300, 20, ""))
    await world.reconcile("LiveKitServer", "voice")
    world.kubernetes.put(manifests.room())
    world.forget()
    await world.reconcile("MeetingRoom", "support-42")
    assert world.ready("MeetingRoom", "support-42") == ("False", "RoomExists")
    assert world.livekit.requests == []


async def test_a_room_waits_without_a_word_for_the_first_listing_of_a_server_that_is_ready(world: World) -> None:
    await world.with_server()
    world.context.servers[NAMESPACE, "voice"].rooms.forget()
    world.kubernetes.put(manifests.room())
    assert await world.reconcile("MeetingRoom", "support-42") is None
    assert "conditions" not in world.get("MeetingRoom", "support-42").get("status", {})
    await world.reconcile("LiveKitServer", "voice")
    assert ("MeetingRoom", (NAMESPACE, "support-42")) in world.woken
