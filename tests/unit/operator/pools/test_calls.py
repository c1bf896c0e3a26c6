"""A VoiceAgentPool and its rooms: who waits wakes it, who lost its agent gets another, busy pods are left alone."""

import itertools
from typing import Any

import pytest

from livekit_operator.errors import KubernetesError
from livekit_operator.views import EndedJob
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition
from tests.fakes.world import World
from tests.unit.operator.pools.calls import BUSY, ZERO, look, opened, pool_status, serve, with_room


async def test_a_caller_wakes_a_pool_from_zero_and_it_goes_back(world: World) -> None:
    await with_room(world, autoscaling=ZERO)
    assert world.agent_pods(leaving=None) == []
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready"), "nobody misses an agent"
    world.livekit.join("support-42", "alice")
    await look(world)
    assert ("VoiceAgentPool", (NAMESPACE, "front-desk")) in world.woken
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert pool_status(world)["waitingSessions"] == 1
    assert len(world.agent_pods()) == 1
    assert world.livekit.dispatched("support-42") == [], "there is nobody to take it yet"
    world.run_pods()
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert ("MeetingRoom", (NAMESPACE, "support-42")) in world.woken
    await look(world)
    assert world.livekit.dispatched("support-42") == ["front-desk"]
    await serve(world)
    assert pool_status(world)["waitingSessions"] == 0
    world.livekit.leave("support-42", "alice")
    world.livekit.leave("support-42", "agent-AJ_1")
    world.say(world.agent_pods()[0])
    await look(world)
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert len(world.agent_pods()) == 1, "not in haste"
    world.clock.advance(31)
    await world.settle()
    assert world.agent_pods() == []


async def test_no_more_agents_are_asked_for_than_are_free(world: World) -> None:
    await with_room(world, replicas=1, sessionsPerPod=2)
    for name in ("room-1", "room-2"):
        await opened(world, name)
    for name in ("support-42", "room-1", "room-2"):
        world.livekit.join(name, "somebody")
        await look(world, name)
    asked = [name for name in ("support-42", "room-1", "room-2") if world.livekit.dispatched(name)]
    assert asked == ["support-42", "room-1"]
    assert pool_status(world)["waitingSessions"] == 0, "it was not looked at since"
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert pool_status(world)["waitingSessions"] == 1


async def test_the_limit_is_told_with_who_waits(world: World) -> None:
    scaling = {"minReplicas": 1, "maxReplicas": 1, "bufferSessions": 0}
    await with_room(world, autoscaling=scaling, sessionsPerPod=1)
    world.say(world.agent_pods()[0], sessions=1)
    await world.reconcile("VoiceAgentPool", "front-desk")
    world.livekit.join("support-42", "alice")
    await look(world)
    await world.reconcile("VoiceAgentPool", "front-desk")
    limited = condition(world.get("VoiceAgentPool", "front-desk"), "ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", "MaxReplicasReached")
    assert "1 room" in limited["message"]
    assert world.condition("VoiceAgentPool", "front-desk", "AgentsAvailable") == ("False", "AllWorkersFull")
    await look(world)
    assert world.ready("MeetingRoom", "support-42") == ("False", "AllWorkersFull")


async def test_who_waits_at_the_limit_is_counted_and_gets_pods_when_more_may_come(world: World) -> None:
    scaling = {"minReplicas": 1, "maxReplicas": 1, "bufferSessions": 0, "scaleDownStabilizationSeconds": 0}
    await world.with_server()
    await world.with_pool(autoscaling=scaling, sessionsPerPod=1)
    names = ("first", "second", "third")
    for name in names:
        world.kubernetes.put(manifests.room(name, agents=[{"poolRef": {"name": "front-desk"}, "dispatch": "OnCreate"}]))
    await world.settle()
    asked = [name for name in names if world.livekit.dispatched(name)]
    assert len(asked) == 1, "there is one place"
    await serve(world, asked[0])
    await world.settle()
    assert (pool_status(world)["waitingSessions"], pool_status(world)["desiredReplicas"]) == (2, 1)
    limited = condition(world.get("VoiceAgentPool", "front-desk"), "ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", "MaxReplicasReached")
    assert "2 rooms wait" in limited["message"]
    assert "maxReplicas" in limited["message"]
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"autoscaling": {"maxReplicas": 5}}})
    await world.settle()
    assert pool_status(world)["desiredReplicas"] == 3
    assert len(world.agent_pods()) == 3
    assert world.condition("VoiceAgentPool", "front-desk", "ScalingLimited") == ("False", "WithinLimits")
    busy = next(pod for pod in world.agent_pods() if BUSY in pod["metadata"]["labels"])
    world.run_pods()
    world.say(busy, jobs={"AJ_1": asked[0]})
    await world.settle()
    assert {name: len(world.livekit.dispatched(name)) for name in names} == dict.fromkeys(names, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({}, id="a quota"),
        pytest.param({"podTemplate": {"volumes": [{"name": "tmp", "emptyDir": {}}]}}, id="overrides that collide"),
        pytest.param(
            {
                "autoscaling": {
                    "minReplicas": 2,
                    "schedules": [{"start": "08:00", "end": "09:00", "timeZone": "Mars/Olympus", "minReplicas": 1}],
                }
            },
            id="a time zone that there is not",
        ),
    ],
)
async def test_what_serves_goes_on_whatever_is_refused(world: World, wrong: dict[str, Any]) -> None:
    await with_room(world, autoscaling={"minReplicas": 2})
    spec = {"idleProcesses": 9, **wrong}
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": spec})
    world.kubernetes.fail("create", "Pod", KubernetesError(403, "Forbidden", "exceeded quota: small"))
    world.context.pools.clear()  # the operator is a new one
    busy, _ = world.agent_pods()
    world.say(busy, sessions=1)
    assert await world.reconcile("VoiceAgentPool", "front-desk") == 2.0
    assert world.ready("VoiceAgentPool", "front-desk")[0] == "False"
    assert BUSY in world.get("Pod", busy["metadata"]["name"])["metadata"]["labels"]
    world.livekit.join("support-42", "alice")
    await look(world)
    assert world.livekit.dispatched("support-42") == ["front-desk"]


async def test_an_agent_that_joins_without_a_connection_is_told_and_asked_for_ever_more_seldom(world: World) -> None:
    await with_room(world, replicas=2)
    world.livekit.join("support-42", "alice")
    asked_at: list[float] = []
    reasons = set()
    begin = world.clock()
    for second in range(150):
        await look(world)
        dispatches = world.livekit.rooms["support-42"].dispatches
        if dispatches and not dispatches[-1].jobs:
            asked_at.append((world.clock() - begin).total_seconds())
            world.livekit.take("support-42", f"AJ_{second}", connected=False)
        room = world.livekit.rooms["support-42"]
        for identity, joined in room.joined_at.items():
            if world.clock().timestamp() - joined >= 15 and identity != "alice":
                room.participants.pop(identity, None)  # its client gives up
        await world.reconcile("VoiceAgentPool", "front-desk")
        if second > 12:
            reasons.add(world.condition("MeetingRoom", "support-42", "AgentsReady"))
            reasons.add(world.condition("VoiceAgentPool", "front-desk", "AgentsAvailable"))
        world.clock.advance(1)
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked_at)]
    assert pauses == [12, 24, 48, 60]
    assert reasons == {("False", "AgentNotConnected")}
    assert world.ready("MeetingRoom", "support-42") == ("False", "AgentNotConnected")
    assert "status.ports" in world.message("MeetingRoom", "support-42")
    status = world.get("MeetingRoom", "support-42")["status"]
    assert (status["agents"][0]["state"], status["agentsJoined"]) == ("Dispatched", 0)


async def test_an_agent_that_is_connected_at_last_is_there(world: World) -> None:
    await with_room(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    world.livekit.take("support-42", "AJ_1", connected=False)
    world.say(world.agent_pods()[0], jobs={"AJ_1": "support-42"})
    world.clock.advance(11)
    await look(world)
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.condition("VoiceAgentPool", "front-desk", "AgentsAvailable") == ("False", "AgentNotConnected")
    world.livekit.join("support-42", "agent-AJ_1", agent_name=pool_status(world)["agentName"], state="listening")
    await look(world)
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.condition("MeetingRoom", "support-42", "AgentsReady")[0] == "True"
    assert world.condition("VoiceAgentPool", "front-desk", "AgentsAvailable")[1] != "AgentNotConnected"


async def test_the_only_agent_of_a_pool_is_asked_for_ever_more_seldom_too(world: World) -> None:
    await with_room(world)
    world.livekit.join("support-42", "alice")
    asked = []
    for second in range(120):
        await look(world)
        room = world.livekit.rooms["support-42"]
        if room.dispatches and not room.dispatches[-1].jobs:
            asked.append(second)
            world.livekit.take("support-42", f"AJ_{second}", connected=False)
        here = {f"AJ_{at}": "support-42" for at in asked[-1:] if f"agent-AJ_{at}" in room.participants}
        world.say(world.agent_pods()[0], jobs=here)
        await world.reconcile("VoiceAgentPool", "front-desk")
        world.clock.advance(1)
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses == sorted(pauses)
    assert len(pauses) in (2, 3), asked


async def test_a_pool_whose_agents_fail_says_so_until_a_call_ends_well(world: World) -> None:
    await with_room(world)
    [pod] = world.agent_pods()
    failed = [EndedJob(f"AJ_{one}", f"room-{one}", failed=True, error=f"ValueError: {one}") for one in range(5)]
    for number in (2, 3, 4, 5):
        world.say(pod, ended=tuple(failed[:number]))
        world.clock.advance(2)
        await world.settle()
        assert world.ready("VoiceAgentPool", "front-desk")[1] == ("Ready" if number < 3 else "AgentFailing")
    found = world.get("VoiceAgentPool", "front-desk")
    assert "The last 5 calls failed" in condition(found, "AgentsAvailable")["message"]
    assert "in 5 rooms, the last one on pod" in condition(found, "Ready")["message"]
    assert len([event for event in world.events() if event[1] == "AgentFailing"]) == 1
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready"), "its own call may do well"
    world.say(pod, ended=(*failed, EndedJob("AJ_9", "room-9", failed=False)))
    world.clock.advance(2)
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    assert condition(world.get("VoiceAgentPool", "front-desk"), "AgentsAvailable")["status"] == "True"
