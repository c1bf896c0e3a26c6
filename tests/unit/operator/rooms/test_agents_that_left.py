"""A room whose agent left on purpose, or failed: what it says, and when another one is asked for."""

from dataclasses import replace
from typing import Any

from livekit_operator.moments import parse_timestamp
from livekit_operator.views import AgentRequest, EndedJob, RoomSettings
from tests.fakes.manifests import NAMESPACE, condition
from tests.fakes.world import World
from tests.unit.operator.rooms.steps import look, opened

ROOM = "support-42"


def agent(world: World) -> dict[str, Any]:
    [found] = world.get("MeetingRoom", ROOM)["status"]["agents"]
    return dict(found)


async def in_a_call(world: World, **reference: Any) -> None:
    """Put a room there in which alice talks with an agent."""
    await world.with_server()
    await world.with_pool()
    await opened(world, agents=[{"poolRef": {"name": "front-desk"}, **reference}])
    world.livekit.join(ROOM, "alice")
    await look(world)
    await taken(world, "AJ_1")
    world.clock.advance(30)
    await look(world)
    assert agent(world)["state"] == "Joined"


async def taken(world: World, job: str) -> None:
    """Let the worker take the newest request of the room."""
    world.livekit.take(ROOM, job)
    dispatch = (await world.livekit.list_dispatches(ROOM))[-1]
    world.say(world.agent_pods()[0], jobs={job: ROOM}, dispatches=[dispatch.id])
    await seen(world)


async def seen(world: World) -> None:
    """Let the pool be looked at, and the room that it wakes."""
    await world.reconcile("VoiceAgentPool", "front-desk")
    await look(world)


async def ends(world: World, job: str, error: str = "") -> None:
    """Let the agent leave, and its worker say how its job ended."""
    world.livekit.leave(ROOM, f"agent-{job}")
    world.say(world.agent_pods()[0], ended=(EndedJob(job, ROOM, bool(error), error),))
    await seen(world)


async def test_an_agent_that_leaves_on_purpose_stays_away(world: World) -> None:
    await in_a_call(world)
    await ends(world, "AJ_1")
    assert agent(world)["state"] == "Finished"
    assert parse_timestamp(agent(world)["leftAt"]) == world.context.now().replace(microsecond=0)
    told = condition(world.get("MeetingRoom", ROOM), "AgentsReady")
    assert (told["status"], told["reason"]) == ("True", "PoolsReady")
    assert "left on purpose" in told["message"]
    world.clock.advance(3600)
    world.context.asked_agents.clear()  # the operator is a new one
    await seen(world)
    assert agent(world)["state"] == "Finished"
    assert world.livekit.asked("create_dispatch") == 1
    assert world.livekit.dispatched(ROOM) == []


async def test_it_is_called_again_by_the_annotation(world: World) -> None:
    await in_a_call(world)
    await ends(world, "AJ_1")
    again = {"metadata": {"annotations": {"livekit-operator.dev/call-agents": "1"}}}
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, again)
    await look(world)
    assert agent(world)["state"] == "Dispatched"
    assert "leftAt" not in agent(world)
    await taken(world, "AJ_2")
    await ends(world, "AJ_2")
    assert agent(world)["state"] == "Finished", "the annotation asked once"
    assert world.livekit.asked("create_dispatch") == 2


async def test_it_is_called_for_whoever_comes_to_the_empty_room(world: World) -> None:
    await in_a_call(world)
    await ends(world, "AJ_1")
    world.livekit.leave(ROOM, "alice")
    world.clock.advance(5)
    await look(world)
    assert agent(world)["state"] == "Waiting"
    world.clock.advance(600)
    world.livekit.join(ROOM, "bob")
    await look(world)
    assert (agent(world)["state"], world.livekit.asked("create_dispatch")) == ("Dispatched", 2)


async def test_whoever_comes_back_while_it_leaves_has_an_agent_again(world: World) -> None:
    await in_a_call(world)
    world.livekit.leave(ROOM, "alice")
    world.livekit.join(ROOM, "alice")  # nobody has seen the room without her
    world.clock.advance(3)
    await ends(world, "AJ_1")
    assert (agent(world)["state"], world.livekit.asked("create_dispatch")) == ("Dispatched", 2)


async def test_one_that_leaves_at_once_stays_away_as_well(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    await opened(world, agents=[{"poolRef": {"name": "front-desk"}}])
    world.livekit.join(ROOM, "alice")
    await look(world)
    await taken(world, "AJ_1")
    world.clock.advance(1)
    await ends(world, "AJ_1")
    assert (agent(world)["state"], world.livekit.asked("create_dispatch")) == ("Finished", 1)


async def test_an_outbound_agent_that_closes_its_room_calls_once(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    await opened(world, agents=[{"poolRef": {"name": "front-desk"}, "dispatch": "OnCreate"}])
    await taken(world, "AJ_1")
    assert agent(world)["state"] == "Joined"
    world.livekit.close_room(ROOM)
    world.say(world.agent_pods()[0], ended=(EndedJob("AJ_1", ROOM, failed=False),))
    await seen(world)
    for _ in range(5):
        world.clock.advance(20)
        await seen(world)
    assert agent(world)["state"] == "Finished"
    assert world.livekit.asked("create_dispatch") == 1
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")


async def test_one_that_fails_is_asked_for_at_growing_intervals_and_told(world: World) -> None:
    await in_a_call(world)
    for number in range(1, 100):
        if world.livekit.dispatched(ROOM):
            if f"agent-AJ_{number}" not in world.livekit.rooms[ROOM].participants:
                await taken(world, f"AJ_{number}")
            await ends(world, f"AJ_{number}", "LookupError: no such tool")
        if number == 6:
            assert world.ready("MeetingRoom", ROOM) == ("False", "AgentFailing")
            assert "LookupError: no such tool" in world.message("MeetingRoom", ROOM)
            assert condition(world.get("MeetingRoom", ROOM), "AgentsReady")["reason"] == "AgentFailing"
        world.clock.advance(2)
        await seen(world)
    # Within 200 s: after 1, 2, 4 ... 64 s, the two seconds of each step on top.
    assert 6 <= world.livekit.asked("create_dispatch") <= 9


async def test_one_whose_failure_is_told_after_it_was_seen_to_leave_has_failed(world: World) -> None:
    await in_a_call(world)
    await ends(world, "AJ_1", "LookupError: no such tool")
    for number in range(2, 7):
        job = f"AJ_{number}"
        world.clock.advance(60)  # whatever the pause
        await seen(world)
        # It comes and fails between two looks at its worker.
        world.livekit.take(ROOM, job)
        await look(world)
        assert agent(world)["state"] == "Joined"
        asked = world.livekit.asked("create_dispatch")
        world.clock.advance(1)
        world.livekit.leave(ROOM, f"agent-{job}")
        await look(world)
        assert world.livekit.asked("create_dispatch") == asked, "what became of it is not known yet"
        world.say(world.agent_pods()[0], ended=(EndedJob(job, ROOM, failed=True, error="LookupError: no such tool"),))
        await seen(world)
    assert world.ready("MeetingRoom", ROOM) == ("False", "AgentFailing")
    assert "failed 6 times in a row" in world.message("MeetingRoom", ROOM)


async def test_a_room_without_a_resource_keeps_to_it_as_well(world: World) -> None:
    await world.with_server()
    await world.with_pool(roomPrefix="support-")
    world.livekit.start_room(RoomSettings(ROOM, 0, 300, 20, ""))
    world.livekit.join(ROOM, "alice")
    await world.settle()
    await taken(world, "AJ_1")
    await world.settle()
    world.clock.advance(30)
    world.livekit.leave(ROOM, "agent-AJ_1")
    world.say(world.agent_pods()[0], ended=(EndedJob("AJ_1", ROOM, failed=False),))
    for _ in range(5):
        await world.settle()
        world.clock.advance(20)
    assert world.livekit.asked("create_dispatch") == 1


async def test_an_agent_that_an_app_called_ends_when_its_people_have_left(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    await opened(world, agents=[{"poolRef": {"name": "front-desk"}, "dispatch": "Never"}])
    await world.livekit.create_dispatch(ROOM, AgentRequest("front-desk"))
    world.context.servers[NAMESPACE, "voice"].rooms.dirty.add(ROOM)  # as the webhook of its coming does
    await taken(world, "AJ_1")
    world.clock.advance(600)
    await look(world)
    assert (agent(world)["state"], world.livekit.dispatched(ROOM)) == ("Joined", ["front-desk"]), "it may wait for them"
    world.livekit.join(ROOM, "alice")
    await look(world)
    world.livekit.leave(ROOM, "alice")
    await look(world)
    assert world.livekit.dispatched(ROOM) == ["front-desk"], "she may come back"
    world.clock.advance(21)
    await look(world)
    assert world.livekit.dispatched(ROOM) == []


async def test_who_is_back_while_the_only_agent_still_ends_its_job_gets_it_then(world: World) -> None:
    await in_a_call(world)
    world.livekit.leave(ROOM, "agent-AJ_1")
    world.livekit.leave(ROOM, "alice")
    world.livekit.join(ROOM, "alice")
    status = replace(world.worker.answers[world.agent_pods()[0]["status"]["podIP"]], capacity=1)
    world.worker.answers[world.agent_pods()[0]["status"]["podIP"]] = status
    await seen(world)
    world.clock.advance(15)
    await seen(world)
    assert agent(world)["state"] == "Unavailable"
    world.say(world.agent_pods()[0], ended=(EndedJob("AJ_1", ROOM, failed=False),))
    await seen(world)
    assert (agent(world)["state"], world.livekit.asked("create_dispatch")) == ("Dispatched", 2)


async def test_an_agent_whose_process_was_killed_is_replaced_at_once(world: World) -> None:
    await in_a_call(world)
    world.say(world.agent_pods()[0], ended=(EndedJob("AJ_1", ROOM, failed=True, error="SIGKILL"),))
    await seen(world)  # LiveKit still lists it
    assert "agent-AJ_1" not in world.livekit.rooms[ROOM].participants
    assert (agent(world)["state"], world.livekit.asked("create_dispatch")) == ("Dispatched", 2)


async def test_the_annotation_is_heeded_once_it_is_known_who_is_there(world: World) -> None:
    await in_a_call(world)
    await ends(world, "AJ_1")
    connection = next(iter(world.context.servers.values()))
    view = connection.rooms.get(ROOM)
    assert view is not None
    connection.rooms.put_unlisted(view)  # Redis has forgotten who is there
    again = {"metadata": {"annotations": {"livekit-operator.dev/call-agents": "1"}}}
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, again)
    await world.reconcile("MeetingRoom", ROOM)
    assert agent(world)["state"] == "Finished"
    assert "leftAt" in agent(world)
    await look(world)
    assert (agent(world)["state"], world.livekit.asked("create_dispatch")) == ("Dispatched", 2)
