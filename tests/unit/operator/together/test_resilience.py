"""One part's problem stays its own: it costs the other parts nothing, and no status lies because of it."""

from typing import Any

from livekit_operator.errors import RoomUnanswered, ServerRefused, ServerUnreachable
from livekit_operator.moments import parse_timestamp
from livekit_operator.rooms.decisions.dispatching import LONELY_SECONDS
from livekit_operator.rooms.decisions.settings import NEVER_SECONDS
from livekit_operator.servers.decisions.breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World

AGENT = [{"poolRef": {"name": "front-desk"}}]


async def room_with_agent(world: World, **spec: Any) -> None:
    """Put a room with an agent there, its pool and server being ready."""
    await world.with_server()
    await world.with_pool()
    world.kubernetes.put(manifests.room(agents=AGENT, **spec))
    await world.settle()


async def look(world: World) -> None:
    """List the server's rooms, then look at the room."""
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("MeetingRoom", "support-42")


async def test_one_foreign_secret_costs_the_others_nothing(world: World) -> None:
    world.kubernetes.put(manifests.secret("support-42-bob", mine="yes"))
    await room_with_agent(world, tokens=[{"identity": "bob"}, {"identity": "alice"}])
    assert world.ready("MeetingRoom", "support-42") == ("False", "NotOwned")
    assert world.get("Secret", "support-42-alice")
    world.livekit.join("support-42", "alice")
    await look(world)
    assert world.livekit.dispatched("support-42") == ["front-desk"]


async def test_rooms_of_a_server_that_is_down_are_not_ready(world: World) -> None:
    await world.with_server(signal={"externalUrl": "wss://voice.example.com"})
    world.kubernetes.put(manifests.room())
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    world.stop_server()
    world.livekit.problem = ServerUnreachable("refused")
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("False", "ServerNotReady")


async def test_a_server_that_lists_and_then_hangs_is_asked_by_one_room_at_a_time(world: World) -> None:
    await world.with_server()
    names = [f"room-{n}" for n in range(20)]
    world.livekit.hangs = True
    for name in names:
        world.kubernetes.put(manifests.room(name))
        await world.reconcile("MeetingRoom", name)
    assert world.livekit.asked("create_room") == FAILURES
    assert {world.ready("MeetingRoom", name) for name in names} == {("False", "ServerUnreachable")}
    assert "delete its pod if it hangs" in world.message("MeetingRoom", names[-1])
    assert ("LiveKitServer", (NAMESPACE, "voice")) in world.woken
    await world.reconcile("LiveKitServer", "voice")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "ServerUnreachable")

    world.clock.advance(FIRST_PAUSE.total_seconds())
    again = [await world.reconcile("MeetingRoom", name) for name in names]
    assert world.livekit.asked("create_room") == FAILURES + 1, "one finds out whether it answers again"
    assert all(seconds and seconds >= FIRST_PAUSE.total_seconds() for seconds in again)
    before = len(world.kubernetes.writes)
    for name in names:
        await world.reconcile("MeetingRoom", name)
    assert len(world.kubernetes.writes) == before, "what is said does not change with each look"

    world.livekit.hangs = False
    world.clock.advance(LONGEST_PAUSE.total_seconds())
    world.woken.clear()
    await world.reconcile("MeetingRoom", names[0])
    assert ("MeetingRoom", (NAMESPACE, names[-1])) in world.woken, "the others need not wait"
    await world.settle()
    assert {world.ready("MeetingRoom", name) for name in names} == {("True", "Ready")}
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")


async def test_a_room_that_is_being_deleted_says_nothing_of_its_server(world: World) -> None:
    """LiveKit goes on listing it for some seconds, while no node answers for it."""
    await room_with_agent(world, tokens=[{"identity": "alice"}])
    world.livekit.join("support-42", "alice")
    await world.settle()
    world.forget()
    events = world.events()
    world.livekit.problem = RoomUnanswered("unavailable: no response from servers")
    for _ in range(10):
        assert await world.reconcile("MeetingRoom", "support-42") == 1.0, "quietly"
        world.clock.advance(1)
    assert (world.written(), world.events()) == ([], events)
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    world.livekit.problem = None
    await world.settle()

    world.livekit.problem = RoomUnanswered("unavailable: no response from servers")
    await world.reconcile("MeetingRoom", "support-42")
    world.clock.advance(15)
    await world.reconcile("MeetingRoom", "support-42")
    assert world.ready("MeetingRoom", "support-42") == ("False", "RoomUnanswered")
    assert "livekit-operator.dev/recreate" in world.message("MeetingRoom", "support-42")
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_a_room_that_is_on_no_list_and_that_nobody_answers_for_is_gone(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.livekit.close_room("support-42")
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "support-42")
    await world.reconcile("LiveKitServer", "voice")
    world.livekit.problem = RoomUnanswered("unavailable: no response from servers")
    await world.reconcile("MeetingRoom", "support-42")
    assert world.kubernetes.peek("MeetingRoom", NAMESPACE, "support-42") is None
    assert not [event for event in world.events() if event[1] == "RoomNotDeleted"]


async def test_events_that_repeat_are_counted_in_one(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.forget()
    for _ in range(5):
        world.livekit.problem = ServerRefused("unauthenticated", "no")
        world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"metadata": f"{world.clock()}"}})
        await world.reconcile("MeetingRoom", "support-42")
        assert world.ready("MeetingRoom", "support-42") == ("False", "ServerRefused")
        world.livekit.problem = None
        await world.reconcile("MeetingRoom", "support-42")
        world.clock.advance(60)
    events = [m for key, m in world.kubernetes.objects.items() if key[0] == "Event"]
    events = [event for event in events if event["involvedObject"]["kind"] == "MeetingRoom"]
    assert sorted((event["reason"], event["count"]) for event in events) == [("Ready", 5), ("ServerRefused", 5)]
    first, last = events[0]["firstTimestamp"], events[0]["lastTimestamp"]
    assert (parse_timestamp(last) - parse_timestamp(first)).total_seconds() == 240
    assert [write.what for write in world.kubernetes.writes if write.kind == "Event"].count(
        "create Event/support-42."
    ) <= 2


async def test_an_agent_left_behind_is_sent_away(world: World) -> None:
    await room_with_agent(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    world.livekit.join("support-42", "agent-1", agent_name="front-desk")
    world.livekit.leave("support-42", "alice")
    await look(world)
    assert world.livekit.dispatched("support-42") == ["front-desk"], "it has some seconds to go by itself"
    world.clock.advance(LONELY_SECONDS)
    await look(world)
    assert world.livekit.dispatched("support-42") == []


async def test_a_waiting_agent_does_not_keep_a_room_as_it_is(world: World) -> None:
    await room_with_agent(world)
    world.livekit.join("support-42", "agent-1", agent_name="front-desk")
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"maxParticipants": 3}})
    await look(world)
    settings = world.livekit.rooms["support-42"].settings
    assert (settings.max_participants, settings.empty_timeout) == (3, NEVER_SECONDS)
