"""Whether a pool is ready, and why its rooms get no agent."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.errors import Problem
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.pools.diagnosis import is_ready, why_unserved
from livekit_operator.pools.pods import ObservedPod
from livekit_operator.pools.standing import Standing
from livekit_operator.views import EndedCall, EndedJob, ProviderError, WorkerJob, WorkerStatus
from tests.fakes import manifests, models
from tests.unit.operator.pools.standings import FREE, NOW, pod, standing, version

POOL = models.pool()
TWO = models.pool(replicas=2)
NONE = models.pool(replicas=0)
SCALED = models.pool(autoscaling={"minReplicas": 0, "maxReplicas": 3})
CANARY = models.pool(rollout={"canary": {"weight": 50}})
OWN = models.pool(agent=manifests.own_agent())
BARE = models.pool(agent=manifests.own_agent(runner="None"))
STARTING: dict[str, Any] = {"ready": False, "worker": None}
COLD = replace(pod(POOL, **STARTING), unready="It is cold.")
FULL = WorkerStatus(True, 4)
REFUSED = ProviderError("stt", "deepgram", 401, "no")
FAILING = ProviderError("stt", "deepgram", 500, "no")
AWAY = Problem(reasons.SERVER_NOT_READY, "The server is away.")
QUOTA = Problem(reasons.KUBERNETES_REFUSED, "A quota.")

LASTING = replace(FREE, jobs=(WorkerJob("AJ_9", "long", NOW - timedelta(seconds=61)),))


def ended(number: int = 3, pod: str = "a") -> tuple[EndedCall, ...]:
    """Return calls that failed on a pod."""
    jobs = [EndedJob(f"AJ_{one}", "lobby", failed=True, error="ValueError: no") for one in range(number)]
    return tuple(EndedCall(job, NOW - timedelta(seconds=10), pod) for job in jobs)


def misnamed(pool: VoiceAgentPool, revision: str = "new") -> ObservedPod:
    return pod(pool, revision=revision, worker=replace(FREE, agent_name="other"))


@pytest.mark.parametrize(
    ("pool", "stands", "reason", "words"),
    [
        (POOL, standing(POOL, pod(POOL)), "Ready", "1 of 1 pods are warm and registered."),
        (OWN, standing(OWN, pod(OWN)), "Ready", "1 of 1 pods are warm and registered."),
        (BARE, standing(BARE, pod(BARE)), "Ready", "1 of 1 pods are ready."),
        (SCALED, standing(SCALED), "Ready", "No pod is needed now"),
        (NONE, standing(NONE), "ScaledToZero", "spec.replicas is 0"),
        (POOL, standing(POOL), "Progressing", "0 of 1 pods"),
        (POOL, standing(POOL, server_problem=AWAY), "ServerNotReady", "The server is away."),
        (POOL, standing(POOL, pod(POOL), server_problem=AWAY), "Ready", ""),
        (TWO, standing(TWO, pod(TWO), server_problem=AWAY), "Progressing", "1 of 2 pods"),
        (SCALED, standing(SCALED, pod(SCALED, trouble="No image.", **STARTING)), "PodsFailing", "No image."),
        (POOL, standing(POOL, pod(POOL, trouble="No image.", **STARTING)), "PodsFailing", "registered. No image."),
        (POOL, standing(POOL, COLD), "Progressing", "registered. It is cold."),
        (TWO, standing(TWO, pod(TWO)), "Progressing", "1 of 2 pods"),
        (
            TWO,
            standing(TWO, pod(TWO, "a", "old"), pod(TWO, "b", "old"), pod(TWO, "c")),
            "RollingOut",
            "1 of 2 pods run the wanted version; older ones serve.",
        ),
        (POOL, standing(POOL, pod(POOL, worker=replace(FREE, provider_errors=(REFUSED,)))), "ProviderRejected", "key"),
        (POOL, standing(POOL, pod(POOL, worker=replace(FREE, provider_errors=(FAILING,)))), "ProviderFailing", "500"),
        (POOL, standing(POOL, pod(POOL), refused=QUOTA), "KubernetesRefused", "A quota."),
        (POOL, standing(POOL, misnamed(POOL)), "AgentNameMismatch", "front-desk"),
        (
            CANARY,
            standing(
                CANARY,
                misnamed(CANARY, "old"),
                known=[version(CANARY, "old", proven=NOW), version(CANARY)],
                rollout=Rollout("old", "new"),
            ),
            "Ready",
            "",
        ),
        (POOL, standing(POOL, pod(POOL, worker=FULL)), "Ready", ""),
        (POOL, standing(POOL, pod(POOL), counts={"ended": ended()}), "AgentFailing", "The last 3 calls failed"),
        (POOL, standing(POOL, pod(POOL), counts={"ended": ended(2)}), "Ready", ""),
        (POOL, standing(POOL, pod(POOL), counts={"ended": ended(pod="gone")}), "Ready", ""),
        (POOL, standing(POOL, pod(POOL, worker=LASTING), counts={"ended": ended()}), "Ready", ""),
        (POOL, standing(POOL, pod(POOL), refused=QUOTA, counts={"ended": ended()}), "KubernetesRefused", "A quota."),
        (POOL, standing(POOL, pod(POOL, **STARTING), counts={"ended": ended()}), "Progressing", "0 of 1 pods"),
        (POOL, standing(POOL, pod(POOL, track="canary")), "Progressing", "0 of 1 pods"),
    ],
)
def test_whether_it_is_ready(pool: VoiceAgentPool, stands: Standing, reason: str, words: str) -> None:
    told = is_ready(pool, stands)
    assert (told.reason, told.status) == (reason, reason == "Ready")
    assert words in told.message


@pytest.mark.parametrize(
    ("pool", "stands", "reason", "words"),
    [
        (POOL, standing(POOL, pod(POOL)), None, ""),
        (SCALED, standing(SCALED), None, ""),
        (NONE, standing(NONE), "NoWorkerRegistered", "spec.replicas is 0"),
        (POOL, standing(POOL, server_problem=AWAY), "ServerNotReady", "The server is away."),
        (POOL, standing(POOL, created=1), "NoWorkerRegistered", "None of 1 pods is ready yet."),
        (POOL, standing(POOL, created=1, refused=QUOTA), "KubernetesRefused", "A quota."),
        (POOL, standing(POOL, pod(POOL), refused=QUOTA), None, ""),
        (TWO, standing(TWO, pod(TWO, worker=FULL), refused=QUOTA), "AllWorkersFull", "no other pod comes: A quota."),
        (TWO, standing(TWO, pod(TWO, worker=FULL), refused=QUOTA, created=1), "AllWorkersFull", "raise spec.replicas"),
        (TWO, standing(TWO, pod(TWO), refused=QUOTA), None, ""),
        (POOL, standing(POOL, pod(POOL, track="canary"), created=1), "NoWorkerRegistered", "None of 1 pods is ready"),
        (POOL, standing(POOL, pod(POOL, track="canary"), refused=QUOTA), "KubernetesRefused", "A quota."),
        (POOL, standing(POOL, pod(POOL), counts={"ended": ended()}), None, ""),
        (POOL, standing(POOL, pod(POOL, trouble="No image.", **STARTING)), "NoWorkerRegistered", "No image."),
        (POOL, standing(POOL, COLD), "NoWorkerRegistered", "It is cold."),
        (POOL, standing(POOL, pod(POOL, crash="It ended.", **STARTING)), "WorkerCrashed", "It ended."),
        (
            POOL,
            standing(POOL, pod(POOL, crash="It ended.", **STARTING), refused=QUOTA),
            "WorkerCrashed",
            "It ended.",
        ),
        (
            POOL,
            standing(
                POOL,
                pod(POOL, "a", "old", worker=FULL),
                pod(POOL, "b", crash="It ended.", track="canary", **STARTING),
                known=[version(POOL, "old", proven=NOW), version(POOL)],
                rollout=Rollout("old", retried="new"),
            ),
            "AllWorkersFull",
            "",
        ),
        (POOL, standing(POOL, pod(POOL, worker=FULL)), "AllWorkersFull", "raise spec.replicas"),
        (POOL, standing(POOL, pod(POOL, worker=replace(FREE, registered=False))), "NoWorkerRegistered", "none is reg"),
        (POOL, standing(POOL, pod(POOL, answered=False)), "NoWorkerRegistered", "none answers"),
        (POOL, standing(POOL, pod(POOL, worker=replace(FREE, load=0.8)), target_load=0.7), "TargetLoadTooLow", "0.8"),
        (POOL, standing(POOL, pod(POOL, worker=replace(FREE, load=0.8, sessions=1)), target_load=0.7), None, ""),
        (POOL, standing(POOL, pod(POOL), counts={"unconnected": 2}), "AgentNotConnected", "2 rooms"),
        (
            POOL,
            standing(POOL, pod(POOL), counts={"unanswered": NOW - timedelta(seconds=9)}),
            "DispatchPending",
            "more than once",
        ),
        (POOL, standing(POOL, pod(POOL, worker=replace(FREE, deployment="mine"))), "DeploymentMismatch", "'mine'"),
        (POOL, standing(POOL, pod(POOL, worker=replace(FREE, provider_errors=(REFUSED,)))), "ProviderRejected", "key"),
        (POOL, standing(POOL, pod(POOL, worker=replace(FREE, provider_errors=(FAILING,)))), "ProviderFailing", "500"),
    ],
)
def test_why_rooms_get_no_agent(pool: VoiceAgentPool, stands: Standing, reason: str | None, words: str) -> None:
    problem = why_unserved(pool, stands)
    assert (problem and problem.reason) == reason
    assert words in (problem.message if problem else "")


@pytest.mark.parametrize(("most", "reason"), [(1, "AllWorkersFull"), (3, None)])
def test_a_pool_that_may_grow_is_not_full(most: int, reason: str | None) -> None:
    pool = models.pool(autoscaling={"minReplicas": 1, "maxReplicas": most, "bufferSessions": 0})
    problem = why_unserved(pool, standing(pool, pod(pool, worker=FULL)))
    assert (problem and problem.reason) == reason
