"""The pods of a pool as they are: what their workers say, whether they are asked, and why one does not start."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.pods import ObservedPod, Pods, free_sessions, observe_pods, remember
from livekit_operator.views import ProviderError, WorkerJob, WorkerStatus
from tests.fakes import manifests, models
from tests.fakes.manifests import NAMESPACE, Manifest, condition
from tests.fakes.world import World
from tests.unit.operator.pools.calls import pool_status
from tests.unit.operator.pools.standings import FREE, NOW, pod


async def test_an_agent_that_does_not_start_is_quoted(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    await world.settle()
    [pod] = world.agent_pods()
    container = {
        "name": "agent",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"message": "AGENT_CONFIG: no such file\n"}},
    }
    world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], {"containerStatuses": [container]}, status=True)
    await world.settle()
    assert "CrashLoopBackOff: AGENT_CONFIG: no such file" in world.message("VoiceAgentPool", "front-desk")


async def test_pods_that_do_not_start_are_explained(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    await world.settle()
    [pod] = world.agent_pods()
    waiting = {"name": "agent", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], {"containerStatuses": [waiting]}, status=True)
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "PodsFailing")
    assert "ImagePullBackOff: no such image" in world.message("VoiceAgentPool", "front-desk")


async def test_pods_that_find_no_node_are_explained(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    await world.settle()
    [pod] = world.agent_pods()
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], {"conditions": [unscheduled]}, status=True)
    await world.settle()
    assert "Unschedulable: 0/2 nodes" in world.message("VoiceAgentPool", "front-desk")


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


async def test_a_worker_that_never_answered_may_be_full(world: World) -> None:
    await world.with_server()
    await world.with_pool(autoscaling={"minReplicas": 1, "maxReplicas": 5, "bufferSessions": 2}, sessionsPerPod=2)
    world.worker.answers.clear()
    world.context.pools.clear()
    await world.reconcile("VoiceAgentPool", "front-desk")
    pool = world.get("VoiceAgentPool", "front-desk")
    assert (pool["status"]["freeSessions"], pool["status"]["desiredReplicas"]) == (0, 2)
    accepted = condition(pool, "ProvidersAccepted")
    assert (accepted["status"], accepted["reason"]) == ("Unknown", "WorkersUnreachable")


async def test_a_busy_worker_that_falls_silent_is_still_busy(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=1)
    (pod,) = world.agent_pods()
    world.say(pod, sessions=2)
    await world.reconcile("VoiceAgentPool", "front-desk")
    world.worker.answers.clear()
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"replicas": 0}})
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.get("VoiceAgentPool", "front-desk")["status"]["activeSessions"] == 2
    assert world.agent_pods(leaving=True) == []


POOL = models.pool()
CANARY = models.pool(rollout={"canary": {"weight": 50}})
MINUTE = timedelta(seconds=60)


@pytest.mark.parametrize(
    ("worker", "ready_since", "served"),
    [
        (FREE, None, False),
        (FREE, NOW - MINUTE + timedelta(seconds=1), False),
        (FREE, NOW - MINUTE, True),
        (None, NOW - MINUTE, True),
        (replace(FREE, started=3, failed=2), None, True),
        (replace(FREE, started=3, failed=3), None, False),
    ],
)
def test_what_shows_that_a_version_can_serve(
    worker: WorkerStatus | None, ready_since: datetime | None, served: bool
) -> None:
    assert pod(POOL, worker=worker, ready_since=ready_since).has_served(NOW) is served


def test_which_pods_are_there_for_new_calls() -> None:
    pods = Pods(
        [
            pod(POOL, "a"),
            pod(POOL, "starting", ready=False),
            pod(POOL, "leaving", leaving=True),
            pod(POOL, "finished", finished=True),
            pod(POOL, "ending", ending=True),
        ]
    )
    assert [one.view.name for one in pods.staying] == ["a", "starting"]
    assert [one.view.name for one in pods.serving] == ["a"]
    assert [view.name for view in pods.views] == ["a", "starting", "leaving", "finished", "ending"]


@pytest.mark.parametrize(
    ("pods", "heard"),
    [
        ([], True),
        ([pod(POOL, answered=False, ready=False)], True),
        ([pod(POOL, answered=False)], False),
        ([pod(POOL, answered=False), pod(POOL, "b")], True),
        ([pod(POOL, answered=False), pod(POOL, "b", leaving=True)], False),
    ],
)
def test_whether_any_pod_is_heard(pods: list[ObservedPod], heard: bool) -> None:
    assert Pods(pods).heard is heard


def test_calls_on_a_track_are_those_of_pods_that_stay_and_what_is_not_known_may_be_the_most() -> None:
    pods = Pods(
        [
            pod(POOL, "a", worker=replace(FREE, sessions=2)),
            pod(POOL, "silent", worker=None),
            pod(POOL, "starting", worker=None, ready=False),
            pod(POOL, "leaving", worker=replace(FREE, sessions=9), leaving=True),
            pod(POOL, "canary", worker=replace(FREE, sessions=1), track="canary"),
        ]
    )
    assert (pods.active_sessions("stable", 4), pods.active_sessions("canary", 4)) == (6, 1)


def refusing(role: str, code: int, message: str = "no") -> ProviderError:
    return ProviderError(role, "deepgram", code, message)


def test_what_providers_answer_is_told_once_of_pods_of_a_version_that_answer() -> None:
    two = replace(FREE, provider_errors=(refusing("tts", 500), refusing("stt", 401)))
    pods = [
        pod(POOL, "a", worker=two),
        pod(POOL, "b", worker=replace(FREE, provider_errors=(refusing("stt", 401, "no again"),))),
        pod(POOL, "silent", worker=replace(FREE, provider_errors=(refusing("stt", 1),)), answered=False),
        pod(POOL, "leaving", worker=replace(FREE, provider_errors=(refusing("stt", 2),)), leaving=True),
        pod(POOL, "former", worker=replace(FREE, provider_errors=(refusing("stt", 3),)), inputs="former"),
    ]
    found = Pods(pods).provider_errors(pods[0].view.version)
    assert [(error.role, error.code, error.message) for error in found] == [
        ("stt", 401, "no again"),
        ("tts", 500, "no"),
    ]


@pytest.mark.parametrize(
    ("worker", "free"),
    [
        (FREE, 4),
        (replace(FREE, sessions=3), 1),
        (replace(FREE, sessions=9), 0),
        (replace(FREE, capacity=10, sessions=3), 7),
        (replace(FREE, capacity=0), 0),
        (replace(FREE, registered=None), 4),
        (replace(FREE, registered=False), 0),
        (replace(FREE, agent_name="front-desk"), 4),
        (replace(FREE, agent_name="other"), 0),
        (None, 0),
    ],
)
def test_how_many_calls_a_worker_could_take(worker: WorkerStatus | None, free: int) -> None:
    assert free_sessions(POOL, Pods([pod(POOL, worker=worker)]), "") == free
    assert free_sessions(POOL, Pods([pod(POOL, worker=worker, leaving=True)]), "") == 0


def test_calls_of_a_deployment_go_to_its_workers() -> None:
    pods = Pods([pod(CANARY, "a"), pod(CANARY, "b"), pod(CANARY, "c", track="canary")])
    assert [free_sessions(CANARY, pods, name) for name in ("", "canary-new", "canary-old")] == [8, 4, 0]


def agent(**status: Any) -> Manifest:
    return {"name": "agent", "restartCount": 0, "containerID": "c1", **status}


WAITING = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
ENDED = {"terminated": {"exitCode": 3, "message": "It\nended.\n"}}
OUT_OF_MEMORY = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
LACKED_MEMORY = "OOMKilled: it needed more memory than its limit of 1Gi; raise spec.resources.limits.memory"
OTHER_LACKED_MEMORY = (
    "OOMKilled: it needed more memory than its node has; raise that of the container in spec.podTemplate"
)
READY = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T11:00:00Z"}]


@pytest.mark.parametrize(
    ("status", "trouble", "crash"),
    [
        pytest.param({"containerStatuses": [agent(state={"running": {}})]}, None, None, id="it runs"),
        pytest.param(
            {"containerStatuses": [agent(state=WAITING)]}, ": CrashLoopBackOff: back-off 10s. ", None, id="why"
        ),
        pytest.param(
            {"containerStatuses": [agent(state=WAITING, lastState=ENDED)]},
            ": CrashLoopBackOff: It ended. ",
            " ended with exit code 3: It ended.",
            id="in its own words",
        ),
        pytest.param(
            {"containerStatuses": [agent(state=WAITING, lastState=OUT_OF_MEMORY)]},
            f": CrashLoopBackOff: {LACKED_MEMORY}. ",
            f" ended with exit code 137: {LACKED_MEMORY}",
            id="for lack of memory",
        ),
        pytest.param(
            {"containerStatuses": [agent(state=ENDED)]}, None, " ended with exit code 3: It ended.", id="ended"
        ),
        pytest.param(
            {"containerStatuses": [agent(state={"running": {}}, lastState=ENDED)], "conditions": READY},
            None,
            None,
            id="it is ready again",
        ),
        pytest.param(
            {"containerStatuses": [agent(state={"running": {}}), {"name": "proxy", "state": WAITING}]},
            ", container proxy: CrashLoopBackOff: back-off 10s. See `kubectl logs --previous a -c proxy`.",
            None,
            id="another container",
        ),
        pytest.param(
            {"containerStatuses": [{"name": "proxy", "state": WAITING, "lastState": OUT_OF_MEMORY}]},
            f", container proxy: CrashLoopBackOff: {OTHER_LACKED_MEMORY}. ",
            None,
            id="another container for lack of memory",
        ),
        pytest.param(
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2."}]},
            ": Unschedulable: 0/2. ",
            None,
            id="no node",
        ),
    ],
)
async def test_why_a_pod_does_not_start(status: Manifest, trouble: str | None, crash: str | None) -> None:
    world = World()
    pool = VoiceAgentPool.model_validate(world.kubernetes.put(manifests.pool()))
    world.kubernetes.put(a_manifest(pool, status=status))
    [found] = (await observe_pods(world.context, pool, PoolMemory())).every
    assert (found.view.failing, found.trouble is None, found.crash is None) == (
        trouble is not None,
        not trouble,
        not crash,
    )
    assert (found.trouble or "").startswith(f"Pod a{trouble}" if trouble else "")
    assert found.crash == (crash and f"Pod a{crash}")


def a_manifest(pool: VoiceAgentPool, **parts: Any) -> Manifest:
    """Return a pod of a pool as the API server gives it."""
    labels = {"app.kubernetes.io/managed-by": "livekit-operator", "livekit-operator.dev/revision": "new"}
    reference = {"apiVersion": "livekit-operator.dev/v1alpha1", "kind": "VoiceAgentPool", "controller": True}
    metadata = {
        "name": "a",
        "namespace": pool.metadata.namespace,
        "creationTimestamp": "2026-03-01T12:00:00Z",
        "labels": labels,
        "ownerReferences": [{**reference, "name": pool.metadata.name, "uid": pool.metadata.uid}],
    }
    container = {
        "name": "agent",
        "ports": [{"name": "status", "containerPort": 8082}],
        "resources": {"limits": {"memory": "1Gi"}},
    }
    return {"kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}, **parts}


RUNNING = {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [agent(state={"running": {}})]}


@pytest.mark.parametrize(
    ("status", "ports", "sessions"),
    [
        pytest.param(RUNNING, True, 1, id="its runner"),
        pytest.param(RUNNING, False, 2, id="or its worker, where no runner was put in"),
        pytest.param({**RUNNING, "phase": "Pending"}, True, None, id="not before it runs"),
        pytest.param({**RUNNING, "podIP": None}, True, None, id="nor without an address"),
    ],
)
async def test_who_is_asked(status: Manifest, ports: bool, sessions: int | None) -> None:
    world = World()
    pool = VoiceAgentPool.model_validate(world.kubernetes.put(manifests.pool()))
    made = a_manifest(pool, status=status)
    made["spec"]["containers"][0]["ports"] = made["spec"]["containers"][0]["ports"] if ports else None
    world.kubernetes.put(made)
    world.worker.answers["10.0.0.1"] = replace(FREE, sessions=1)
    world.worker.plain_answers["10.0.0.1"] = replace(FREE, sessions=2)
    [found] = (await observe_pods(world.context, pool, PoolMemory())).every
    assert found.view.sessions == sessions


@pytest.mark.parametrize(
    ("status", "kept"),
    [
        pytest.param(RUNNING, True, id="it is busy"),
        pytest.param({**RUNNING, "containerStatuses": [agent(state=WAITING)]}, False, id="it has ended"),
        pytest.param({**RUNNING, "containerStatuses": [agent(state={}, restartCount=1)]}, False, id="it began anew"),
        pytest.param({**RUNNING, "containerStatuses": [agent(state={}, containerID="c2")]}, False, id="another one"),
    ],
)
async def test_what_a_silent_worker_said_last_counts_while_it_runs(status: Manifest, kept: bool) -> None:
    world, memory = World(), PoolMemory()
    pool = VoiceAgentPool.model_validate(world.kubernetes.put(manifests.pool()))
    world.kubernetes.put(a_manifest(pool, status=RUNNING))
    world.worker.answers["10.0.0.1"] = replace(FREE, sessions=3, jobs=(WorkerJob("AJ_1", "call"),))
    remember(memory, await observe_pods(world.context, pool, memory), world.clock())
    world.worker.answers.clear()
    world.kubernetes.edit("Pod", NAMESPACE, "a", status, status=True)
    pods = await observe_pods(world.context, pool, memory)
    assert pods.every[0].view.sessions == (3 if kept else None)
    assert pods.every[0].answered is kept, "one pass is none"
    assert memory.silent == {}, "observing writes nothing"
    assert remember(memory, pods, world.clock()) == (set() if kept else {"call"})
    assert list(memory.silent) == list(memory.pods)
    again = await observe_pods(world.context, pool, memory)
    assert not again.every[0].answered
