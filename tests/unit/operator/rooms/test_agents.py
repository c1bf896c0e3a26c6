"""Which agents a room asks for, and what it says while none comes."""

from datetime import datetime
from typing import Any

import pytest

from livekit_operator.errors import ServerUnreachable
from livekit_operator.rooms.decisions.asked import AskedAgent
from livekit_operator.rooms.decisions.dispatching import PATIENCE_SECONDS, UNTAKEN_SECONDS
from livekit_operator.views import AgentRequest
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition
from tests.fakes.world import World
from tests.unit.operator.rooms.steps import look, opened

WITH_AGENT = [{"poolRef": {"name": "front-desk"}, "metadata": "job"}]
BOTH = [{"poolRef": {"name": "front-desk"}}, {"poolRef": {"name": "night-desk"}}]


async def with_agent(world: World, **agent: Any) -> None:
    await world.with_server()
    await world.with_pool()
    await opened(world, agents=[{**WITH_AGENT[0], **agent}])


def agent_state(world: World) -> str:
    [agent] = world.get("MeetingRoom", "support-42")["status"]["agents"]
    assert isinstance(agent["state"], str)
    return agent["state"]


async def test_an_agent_is_called_for_the_first_participant_exactly_once(world: World) -> None:
    await with_agent(world)
    assert (agent_state(world), world.livekit.dispatched("support-42")) == ("Waiting", [])
    world.livekit.join("support-42", "alice")
    # What the webhook does: it marks the room and wakes its resource.
    access = world.context.servers[NAMESPACE, "voice"]
    access.rooms.dirty.add("support-42")
    again = await world.reconcile("MeetingRoom", "support-42")
    assert world.livekit.writes[-1] == ("create_dispatch", "support-42", "front-desk", "job")
    assert again == pytest.approx(UNTAKEN_SECONDS)
    for _ in range(3):
        access.rooms.dirty.add("support-42")
        await world.reconcile("MeetingRoom", "support-42")
        await world.reconcile("LiveKitServer", "voice")
    assert world.livekit.dispatched("support-42") == ["front-desk"]
    assert agent_state(world) == "Dispatched"
    world.livekit.join("support-42", "agent-1", agent_name="front-desk")
    access.rooms.dirty.add("support-42")
    await world.reconcile("MeetingRoom", "support-42")
    status = world.get("MeetingRoom", "support-42")["status"]
    assert (agent_state(world), status["agentsJoined"], status["participants"]) == ("Joined", 1, 1)


async def test_an_agent_that_works_before_it_joins_is_asked_for_once(world: World) -> None:
    await with_agent(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    (dispatch,) = await world.livekit.list_dispatches("support-42")
    (pod,) = world.agent_pods()
    # Its worker has taken the job, which LiveKit lists seconds later.
    world.say(pod, jobs={"AJ_1": "support-42"}, dispatches=[dispatch.id])
    await world.reconcile("VoiceAgentPool", "front-desk")
    world.clock.advance(UNTAKEN_SECONDS * 3)
    await look(world)
    assert world.livekit.asked("create_dispatch") == 1
    assert agent_state(world) == "Dispatched"
    # It ends without a word in the room: somebody else is asked.
    world.say(pod)
    await world.reconcile("VoiceAgentPool", "front-desk")
    await look(world)
    assert world.livekit.asked("create_dispatch") == 2


async def test_without_a_webhook_the_listing_brings_the_agent(world: World) -> None:
    await with_agent(world)
    world.livekit.join("support-42", "alice")
    await world.reconcile("LiveKitServer", "voice")
    assert ("MeetingRoom", (NAMESPACE, "support-42")) in world.woken
    await world.reconcile("MeetingRoom", "support-42")
    assert world.livekit.dispatched("support-42") == ["front-desk"]


async def test_an_agent_that_was_lost_is_called_anew(world: World) -> None:
    await with_agent(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    world.livekit.join("support-42", "agent-1", agent_name="front-desk")
    await look(world)
    assert agent_state(world) == "Joined"
    world.clock.advance(600)
    world.livekit.leave("support-42", "agent-1")
    world.forget()
    world.context.servers[NAMESPACE, "voice"].rooms.dirty.add("support-42")
    await world.reconcile("MeetingRoom", "support-42")
    assert [request[0] for request in world.livekit.writes] == ["delete_dispatch", "create_dispatch"]
    assert len(world.livekit.dispatched("support-42")) == 1


async def test_an_agent_that_was_lost_is_noticed_without_a_webhook(world: World) -> None:
    """The listing of rooms counts people only: it does not change when an agent dies."""
    await with_agent(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    world.livekit.join("support-42", "agent-1", agent_name="front-desk")
    world.clock.advance(PATIENCE_SECONDS)
    again = await world.reconcile("MeetingRoom", "support-42")
    assert agent_state(world) == "Joined"
    assert again is not None
    world.livekit.leave("support-42", "agent-1")
    world.clock.advance(again)
    await world.reconcile("MeetingRoom", "support-42")
    assert agent_state(world) == "Dispatched"


async def test_an_agent_that_does_not_come_is_called_anew(world: World) -> None:
    await with_agent(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    world.clock.advance(PATIENCE_SECONDS + 1)
    world.forget()
    await world.reconcile("MeetingRoom", "support-42")
    assert [request[0] for request in world.livekit.writes] == ["delete_dispatch", "create_dispatch"]


async def test_an_agent_may_wait_in_the_room(world: World) -> None:
    await with_agent(world, dispatch="OnCreate")
    assert world.livekit.dispatched("support-42") == ["front-desk"]


async def test_an_agent_that_others_call_is_only_looked_for(world: World) -> None:
    await with_agent(world, dispatch="Never")
    world.livekit.join("support-42", "alice")
    await look(world)
    assert agent_state(world) == "Waiting"
    assert world.get("MeetingRoom", "support-42")["status"]["agents"][0]["agentName"] == "front-desk"
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.get("VoiceAgentPool", "front-desk")["status"]["waitingSessions"] == 0
    await world.livekit.create_dispatch("support-42", AgentRequest("front-desk", "from the app"))
    world.livekit.take("support-42", "AJ_1")
    world.forget()
    await look(world)
    assert agent_state(world) == "Joined"
    world.livekit.leave("support-42", "alice")
    world.clock.advance(1000)
    await look(world)
    assert agent_state(world) == "Joined"
    assert world.livekit.writes == []


async def test_of_two_pools_of_one_name_the_one_is_called_that_may_be(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.put(manifests.pool("night-desk", agentName="front-desk", replicas=0))
    agents = [{"poolRef": {"name": "front-desk"}, "dispatch": "Never"}, {"poolRef": {"name": "night-desk"}}]
    await opened(world, agents=agents)
    world.livekit.join("support-42", "alice")
    await look(world)
    states = [agent["state"] for agent in world.get("MeetingRoom", "support-42")["status"]["agents"]]
    assert states == ["Unavailable", "Unavailable"]


async def test_a_room_without_an_agent_to_call_says_why(world: World) -> None:
    await opened(world, agents=WITH_AGENT)
    assert world.ready("MeetingRoom", "support-42") == ("False", "PoolNotFound")
    assert "VoiceAgentPool front-desk does not exist" in world.message("MeetingRoom", "support-42")
    world.livekit.join("support-42", "alice")
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("False", "NoWorkerRegistered")
    assert agent_state(world) == "Unavailable"
    assert world.get("VoiceAgentPool", "front-desk")["status"]["waitingSessions"] == 1
    world.run_pods()
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    assert world.livekit.dispatched("support-42") == ["front-desk"], "the call that found no agent gets one"
    assert condition(world.get("MeetingRoom", "support-42"), "AgentsReady")["status"] == "True"


async def test_a_pool_of_another_server_cannot_serve(world: World) -> None:
    await with_agent(world)
    world.kubernetes.put(manifests.server("other"))
    world.kubernetes.put(manifests.pool("strange", serverRef={"name": "other"}))
    world.kubernetes.put(manifests.room("room-2", agents=[{"poolRef": {"name": "strange"}}]))
    await world.settle()
    assert world.ready("MeetingRoom", "room-2") == ("False", "PoolOnOtherServer")


def fail(world: World, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """Let every request of one kind fail until `monkeypatch.undo`."""

    async def fails(*_: object) -> None:
        raise ServerUnreachable("no answer")

    monkeypatch.setattr(world.livekit, verb, fails)


async def with_two_pools(world: World, *, named: int) -> None:
    """Let somebody join a room beside two pools, of which it names the first ones."""
    await world.with_server()
    await world.with_pool()
    world.kubernetes.put(manifests.pool("night-desk"))
    await world.settle()
    world.run_pods()
    await world.settle()
    await opened(world, agents=BOTH[:named])
    world.livekit.join("support-42", "alice")


def asked(world: World) -> dict[str, tuple[int, int]]:
    """Return name of an agent -> attempts and calls, of those that were asked for."""
    agents = world.context.asked_agents[NAMESPACE, "support-42"]
    return {name: (agent.attempts, agent.calls) for name, agent in agents.items() if agent != AskedAgent()}


def promised(world: World) -> list[datetime]:
    """Return since when the second pool keeps places."""
    return [since for _, _, since in world.context.pools[NAMESPACE, "night-desk"].promised.values()]


async def test_a_request_that_fails_counts_for_no_pool_but_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_two_pools(world, named=2)
    fail(world, monkeypatch, "create_dispatch")
    for attempt in range(1, 5):
        await look(world)
        assert asked(world) == {"front-desk": (attempt, attempt)}
        assert promised(world) == []
        world.clock.advance(5)
    monkeypatch.undo()
    await look(world)
    assert asked(world) == {"front-desk": (5, 5), "night-desk": (1, 1)}
    assert world.livekit.dispatched("support-42") == ["front-desk", "night-desk"]
    assert promised(world) == [world.clock()]
    assert world.context.pools[NAMESPACE, "night-desk"].unanswered == {}


async def test_a_pool_that_was_asked_keeps_its_place_when_another_cannot_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_two_pools(world, named=2)
    await look(world)
    before = promised(world)
    assert before == [world.clock()]
    world.clock.advance(UNTAKEN_SECONDS + 0.5)
    fail(world, monkeypatch, "create_dispatch")
    await world.reconcile("MeetingRoom", "support-42")
    assert (asked(world), promised(world)) == ({"front-desk": (2, 2), "night-desk": (1, 1)}, before)


async def test_a_request_of_a_former_pool_that_cannot_be_deleted_counts_for_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_two_pools(world, named=1)
    await look(world)
    assert asked(world) == {"front-desk": (1, 1)}
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"agents": BOTH[1:]}})
    fail(world, monkeypatch, "delete_dispatch")
    await look(world)
    assert (asked(world), promised(world)) == ({"front-desk": (1, 1)}, [])
    monkeypatch.undo()
    await look(world)
    assert world.livekit.dispatched("support-42") == ["night-desk"]
    assert promised(world) == [world.clock()]
