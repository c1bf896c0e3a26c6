"""A VoiceAgentPool and its rooms: who waits wakes it, who lost its agent gets another, busy pods are left alone."""

import itertools
from datetime import timedelta
from typing import Any

import pytest

from livekit_operator.errors import KubernetesError
from livekit_operator.moments import timestamp
from livekit_operator.views import ParticipantView, WorkerJob, WorkerStatus
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest, condition
from tests.fakes.world import World

BUSY = "livekit-operator.dev/busy"
ZERO = {"minReplicas": 0, "maxReplicas": 3, "bufferSessions": 2, "scaleDownStabilizationSeconds": 30}


def pool_status(world: World) -> Manifest:
    status: Manifest = world.get("VoiceAgentPool", "front-desk")["status"]
    return status


async def with_room(world: World, name: str = "support-42", **pool: Any) -> None:
    await world.with_server()
    await world.with_pool(**pool)
    await opened(world, name)


async def opened(world: World, name: str) -> None:
    world.kubernetes.put(manifests.room(name, agents=[{"poolRef": {"name": "front-desk"}}]))
    await world.settle()


async def look(world: World, room: str = "support-42") -> None:
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("MeetingRoom", room)


async def serve(world: World, room: str = "support-42", job: str = "AJ_1") -> None:
    """Let the pool's only pod take the call that was asked for."""
    world.livekit.take(room, job)
    world.say(world.agent_pods()[0], jobs={job: room})
    await world.reconcile("VoiceAgentPool", "front-desk")
    await look(world, room)


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


async def test_pods_with_calls_are_marked_and_others_are_not(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=2)
    busy, idle = world.agent_pods()
    world.say(busy, sessions=1)
    await world.settle()
    marked = [pod["metadata"]["name"] for pod in world.agent_pods() if BUSY in pod["metadata"]["labels"]]
    assert marked == [busy["metadata"]["name"]]
    annotations = world.get("Pod", busy["metadata"]["name"])["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert await world.writes_of_another_round() == []
    world.say(busy)
    await world.settle()
    assert BUSY not in world.get("Pod", busy["metadata"]["name"])["metadata"]["labels"]
    assert idle["metadata"]["name"] in [pod["metadata"]["name"] for pod in world.agent_pods()]


async def test_pods_on_a_node_that_is_emptied_are_replaced_first(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=1)
    (there,) = world.agent_pods()
    name = there["metadata"]["name"]
    world.kubernetes.edit("Pod", NAMESPACE, name, {"spec": {"nodeName": "node-1"}})
    world.say(there, sessions=1)
    node = {"kind": "Node", "metadata": {"name": "node-1", "namespace": ""}, "spec": {"unschedulable": True}}
    world.kubernetes.put(node)
    await world.settle()
    assert len(world.agent_pods()) == 2
    assert world.agent_pods(leaving=True) == []
    world.run_pods()
    await world.settle()
    assert [pod["metadata"]["name"] for pod in world.agent_pods(leaving=True)] == [name]


@pytest.mark.parametrize("node", ["ready", "lost"])
async def test_a_pod_on_a_lost_node_is_not_waited_for_each_time(world: World, node: str) -> None:
    """Each look at it costs the whole pass the time in which it could answer; it may stay for hours, leaving."""
    await world.with_server()
    await world.with_pool(replicas=1)
    (pod,) = world.agent_pods()
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    world.kubernetes.edit("Pod", NAMESPACE, name, {"spec": {"nodeName": "node-1"}})
    world.say(pod, sessions=2)
    world.kubernetes.put({"kind": "Node", "metadata": {"name": "node-1", "namespace": ""}, "spec": {}})
    answer = world.worker.answers[address]

    def turn(ready: bool) -> None:
        condition = {"type": "Ready", "status": "True" if ready else "Unknown"}
        world.kubernetes.edit("Node", "", "node-1", {"conditions": [condition]}, status=True)

    async def asked(looks: int) -> int:
        world.worker.asked.clear()
        for _ in range(looks):
            await world.reconcile("VoiceAgentPool", "front-desk")
        return world.worker.asked.count(address)

    turn(node == "ready")
    assert await asked(3) == 3, "it answers"
    del world.worker.answers[address]
    assert await asked(3) == (3 if node == "ready" else 1)
    assert pool_status(world)["activeSessions"] == 2, "what it said last counts"
    world.clock.advance(30)
    assert await asked(3) == (3 if node == "ready" else 1)
    turn(True)
    assert await asked(3) == 3
    turn(node == "ready")
    world.worker.answers[address] = answer
    world.clock.advance(30)
    assert await asked(3) == 3


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


async def test_metrics_go_with_their_pool(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=2)

    def free() -> float | None:
        labels = {"namespace": NAMESPACE, "pool": "front-desk", "state": "free"}
        return world.context.metrics.registry.get_sample_value("livekit_operator_pool_sessions", labels)

    assert free() == 8
    world.kubernetes.vanish("VoiceAgentPool", NAMESPACE, "front-desk")
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert free() is None


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


async def test_a_room_that_is_gone_waits_no_more(world: World) -> None:
    await with_room(world, autoscaling=ZERO)
    world.livekit.join("support-42", "alice")
    await look(world)
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert pool_status(world)["waitingSessions"] == 1
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"agents": []}})
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert pool_status(world)["waitingSessions"] == 0


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


async def test_what_the_calls_do_is_told_at_most_every_few_seconds(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    (pod,) = world.agent_pods()
    start = world.context.now()

    async def told(*jobs: WorkerJob) -> list[Manifest]:
        world.worker.answers[pod["status"]["podIP"]] = WorkerStatus(True, len(jobs), jobs=jobs)
        await world.reconcile("VoiceAgentPool", "front-desk")
        return list(pool_status(world)["sessions"])

    assert await told() == []
    spoke = start + timedelta(seconds=5)
    lines = await told(WorkerJob("AJ_2", "lively", start, "speaking", spoke), WorkerJob("AJ_1", "quiet", start))
    name = pod["metadata"]["name"]
    lively = {"room": "lively", "pod": name, "state": "speaking", "startTime": timestamp(start)}
    assert lines == [
        {"room": "quiet", "pod": name, "startTime": timestamp(start)},
        {**lively, "lastActivityTime": timestamp(spoke)},
    ]
    world.clock.advance(9)
    writes = len(world.kubernetes.writes)
    spoke = start + timedelta(seconds=18)
    busy = WorkerJob("AJ_2", "lively", start, "listening", spoke), WorkerJob("AJ_1", "quiet", start)
    assert await told(*busy) == lines
    assert len(world.kubernetes.writes) == writes
    world.clock.advance(1)
    assert (await told(*busy))[1] == {**lively, "state": "listening", "lastActivityTime": timestamp(spoke)}
    world.clock.advance(10)
    assert len(await told(*(WorkerJob(f"AJ_{n}", f"r{n}") for n in range(60)))) == 50


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
