"""A call whose agent is lost, unknown or not connected: the room hears of it, and what it does then."""

import pytest

from livekit_operator.views import ParticipantView
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.pools.calls import ZERO, look, pool_status, serve, with_room


async def test_a_call_whose_worker_dies_gets_another_agent_at_once(world: World) -> None:
    await with_room(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    await serve(world)
    world.clock.advance(30)
    world.forget()
    (pod,) = world.agent_pods()
    died = {"name": "agent", "restartCount": 1, "containerID": "c2", "state": {"running": {}}}
    world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], {"containerStatuses": [died]}, status=True)
    world.say(pod)
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert ("MeetingRoom", (NAMESPACE, "support-42")) in world.woken
    await world.reconcile("MeetingRoom", "support-42")
    assert [request[0] for request in world.livekit.writes] == [
        "remove_participant",  # LiveKit would list it for 20 s more
        "delete_dispatch",
        "create_dispatch",
    ]
    assert world.livekit.writes[0] == ("remove_participant", "support-42", "agent-AJ_1")


async def test_a_call_whose_process_dies_gets_another_agent_too(world: World) -> None:
    await with_room(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    await serve(world)
    world.clock.advance(30)
    world.say(world.agent_pods()[0])
    await world.reconcile("VoiceAgentPool", "front-desk")
    await world.reconcile("MeetingRoom", "support-42")
    assert "create_dispatch" in [request[0] for request in world.livekit.writes]


@pytest.mark.parametrize("between", [0, 1])
async def test_a_call_that_the_next_worker_takes_is_not_lost(world: World, between: int) -> None:
    """LiveKit offers what one worker refuses to the next, also when some looks find it with neither."""
    await with_room(world, replicas=2)
    first, second = world.agent_pods()
    world.livekit.join("support-42", "alice")
    await look(world)
    world.livekit.take("support-42", "AJ_1")
    world.say(first, jobs={"AJ_1": "support-42"})
    await world.reconcile("VoiceAgentPool", "front-desk")
    world.say(first)
    for _ in range(between):
        await world.reconcile("VoiceAgentPool", "front-desk")
    world.say(second, jobs={"AJ_1": "support-42"})
    world.forget()
    await world.reconcile("VoiceAgentPool", "front-desk")
    await look(world)
    assert world.context.pools[NAMESPACE, "front-desk"].lost == {}
    assert world.livekit.writes == []


async def test_a_call_that_ended_brings_nobody_back(world: World) -> None:
    await with_room(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    await serve(world)
    world.livekit.leave("support-42", "alice")
    world.livekit.leave("support-42", "agent-AJ_1")
    world.forget()
    world.say(world.agent_pods()[0])
    await world.reconcile("VoiceAgentPool", "front-desk")
    await look(world)
    assert "create_dispatch" not in [request[0] for request in world.livekit.writes]


async def test_a_room_whose_agent_no_worker_knows_of_is_looked_at(world: World) -> None:
    """A call that ended between two looks leaves its agent listed for a while, and nobody may tell when it goes."""
    await with_room(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    world.livekit.take("support-42", "AJ_1")  # no pod ever says that it has the call
    await look(world)
    world.clock.advance(30)
    world.livekit.leave("support-42", "agent-AJ_1")
    world.forget()
    for _ in range(3):
        await world.reconcile("VoiceAgentPool", "front-desk")
        for kind, key in world.woken & {("MeetingRoom", (NAMESPACE, "support-42"))}:
            await world.reconcile(kind, key[1])
    assert "create_dispatch" in [request[0] for request in world.livekit.writes]


async def test_a_call_keeps_its_agent_when_redis_forgets_the_room(world: World) -> None:
    """The server goes on with it, and nothing but CreateRoom tells of it."""
    await with_room(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    await serve(world)
    before = world.get("MeetingRoom", "support-42")["status"]
    world.livekit.unlisted.add("support-42")
    world.forget()
    for _ in range(12):
        world.clock.advance(5)
        await look(world)
    assert world.livekit.writes == [("create_room", "support-42")], "it is not asked for at every listing"
    for _ in range(12):
        world.clock.advance(5)
        await look(world)
    assert world.livekit.asked("create_room") == 2, "but from time to time: nothing would tell its end"
    # Nobody can say who they are.
    assert world.get("MeetingRoom", "support-42")["status"] == {**before, "participantIdentities": []}


async def test_a_call_keeps_its_agent_when_redis_knows_only_the_agent(world: World) -> None:
    """Who is in a room is stored anew only when something about them changes."""
    await with_room(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    await serve(world)
    listed = world.livekit.list_participants

    async def only_agents(room: str) -> list[ParticipantView]:
        return [participant for participant in await listed(room) if participant.agent_name is not None]

    world.livekit.list_participants = only_agents  # type: ignore[method-assign]
    world.forget()
    for _ in range(12):
        world.clock.advance(5)
        await look(world)
    assert world.livekit.writes == []
    world.livekit.leave("support-42", "alice")
    world.clock.advance(5)
    await look(world)
    world.clock.advance(30)
    await look(world)
    assert world.livekit.dispatched("support-42") == []


async def test_a_room_that_is_gone_waits_no_more(world: World) -> None:
    await with_room(world, autoscaling=ZERO)
    world.livekit.join("support-42", "alice")
    await look(world)
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert pool_status(world)["waitingSessions"] == 1
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"agents": []}})
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert pool_status(world)["waitingSessions"] == 0
