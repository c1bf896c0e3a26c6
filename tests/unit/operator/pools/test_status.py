"""What a pool says of itself: counts, versions and conditions, over what was observed, planned and done."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import RUNNER_REFUSES
from livekit_operator.errors import Problem
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.pools.pods import Pods
from livekit_operator.pools.standing import Standing
from livekit_operator.pools.status import halted, status
from livekit_operator.pools.told import Counts
from livekit_operator.reconciling.status import Outcome, plain
from livekit_operator.views import EndedCall, EndedJob, WorkerStatus
from tests.fakes import manifests, models
from tests.unit.operator.pools.standings import FREE, NOW, pod, standing, version

POOL = models.pool()
TWO = models.pool(replicas=2)
CANARY = models.pool(rollout={"canary": {"weight": 50}})
SCALED = models.pool(autoscaling={"minReplicas": 0, "maxReplicas": 2, "bufferSessions": 0}, sessionsPerPod=1)
OWN = models.pool(agent=manifests.own_agent())
BARE = models.pool(agent=manifests.own_agent(runner="None"))
STARTING: dict[str, Any] = {"ready": False, "worker": None}
BUSY = WorkerStatus(True, 3, started=7, failed=2)
DEAF = replace(pod(POOL, "b", worker=BUSY, leaving=True), unheard=True)
FAILED = Problem(reasons.ROLLED_BACK, "It failed.")


def both(pool: VoiceAgentPool) -> list[Any]:
    return [version(pool, "old", created=NOW - timedelta(days=1), proven=NOW), version(pool)]


def outcome(pool: VoiceAgentPool, stands: Standing) -> Outcome:
    return status(pool, stands.observed, stands.plan, stands.done)


def told(pool: VoiceAgentPool, stands: Standing, kind: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition."""
    [found] = [one for one in outcome(pool, stands).conditions if one.type == kind]
    return {True: "True", False: "False", None: "Unknown"}[found.status], found.reason, found.message


@pytest.mark.parametrize(
    ("pool", "stands", "expected"),
    [
        (POOL, standing(POOL, pod(POOL)), ("False", "UpToDate", "Every pod is of the wanted version.")),
        (models.pool(replicas=0), standing(models.pool(replicas=0)), ("False", "UpToDate", "No pod is wanted.")),
        (TWO, standing(TWO, pod(TWO)), ("True", "Starting", "1 of 2 pods of the wanted version are ready.")),
        (
            POOL,
            standing(POOL, pod(POOL, trouble="No image.", **STARTING)),
            ("True", "Starting", "0 of 1 pods of the wanted version are ready. No image."),
        ),
        (
            POOL,
            standing(POOL, pod(POOL), pod(POOL, "b", worker=BUSY)),
            ("True", "ScalingDown", "1 more pods than wanted stay until their calls end."),
        ),
        (
            POOL,
            standing(POOL, pod(POOL), pod(POOL, "b", worker=BUSY, leaving=True)),
            ("True", "Draining", "1 pods end their 3 calls."),
        ),
        (
            POOL,
            standing(POOL, pod(POOL), DEAF),
            (
                "True",
                "NotDraining",
                "Pod b was told to leave, and its worker goes on: SIGTERM does not reach it, so calls may still come "
                "to it. Have the start script, in spec.agent.command or in the image, begin the program with `exec`. "
                "`kubectl delete pod b --grace-period=1` ends this one at once, with its 3 calls.",
            ),
        ),
        (
            POOL,
            standing(POOL, pod(POOL), pod(POOL, "b", "old", worker=BUSY), known=both(POOL)),
            ("True", "RollingOut", "1 pods of former versions end their 3 calls."),
        ),
        (
            POOL,
            standing(POOL, pod(POOL), pod(POOL, "b", worker=BUSY, inputs="former")),
            ("True", "RollingOut", "1 pods of former versions end their 3 calls."),
        ),
        (
            CANARY,
            standing(
                CANARY,
                pod(CANARY, "a", "old"),
                pod(CANARY, "b", track="canary", worker=BUSY),
                known=both(CANARY),
                rollout=Rollout("old", "new"),
            ),
            ("True", "Canary", "Canary new has had 7 calls, 2 of them failed."),
        ),
        (
            POOL,
            standing(
                POOL,
                pod(POOL, "a", "old"),
                pod(POOL, "b", track="canary", **STARTING),
                known=both(POOL),
                rollout=Rollout("old", None, FAILED, retried="new"),
            ),
            ("True", "Retrying", "A pod of revision new is still tried."),
        ),
        (
            POOL,
            standing(POOL, pod(POOL, "a", "old"), known=both(POOL), rollout=Rollout("old", None, FAILED)),
            ("False", "RolledBack", "It failed."),
        ),
        (POOL, standing(POOL, refused=FAILED), ("False", "RolledBack", "It failed.")),
        # Nothing of it runs, and nothing is wanted now: it is none the better for that.
        (SCALED, standing(SCALED, rollout=Rollout("new", None, FAILED)), ("False", "RolledBack", "It failed.")),
        (SCALED, standing(SCALED), ("False", "UpToDate", "No pod is wanted.")),
        (
            POOL,
            standing(
                POOL,
                pod(POOL, "a", "old", worker=BUSY),
                pod(POOL, "b", trouble="No image.", **STARTING),
                known=both(POOL),
            ),
            (
                "True",
                "RollingOut",
                "0 of 1 pods of the wanted version are ready; 1 of former versions stay until then, with 3 calls. "
                "No image.",
            ),
        ),
        (
            CANARY,
            standing(
                CANARY,
                pod(CANARY, "a", "old"),
                pod(CANARY, "b", track="canary", crash="It ended.", **STARTING),
                known=both(CANARY),
                rollout=Rollout("old", "new"),
            ),
            ("True", "Canary", "Canary new has had 0 calls, 0 of them failed. It ended."),
        ),
        (POOL, standing(POOL, pod(POOL), refused=FAILED), ("False", "UpToDate", "Every pod is of the wanted version.")),
    ],
)
def test_progressing(pool: VoiceAgentPool, stands: Standing, expected: tuple[str, str, str]) -> None:
    assert told(pool, stands, "Progressing") == expected


@pytest.mark.parametrize(
    ("unserved", "sessions", "expected"),
    [
        (None, 3, ("True", "Available", "1 more call can be taken now.")),
        (None, 2, ("True", "Available", "2 more calls can be taken now.")),
        (None, 4, ("True", "Available", "No agent is free; another pod comes with the next call.")),
        (FAILED, 0, ("False", "RolledBack", "It failed.")),
    ],
)
def test_agents_available(unserved: Problem | None, sessions: int, expected: tuple[str, str, str]) -> None:
    stands = standing(POOL, pod(POOL, worker=replace(FREE, sessions=sessions)))
    stands = replace(stands, done=replace(stands.done, unserved=unserved))
    assert told(POOL, stands, "AgentsAvailable") == expected


def test_agents_that_fail_are_not_available() -> None:
    failed = [EndedJob(f"AJ_{one}", "lobby", failed=True, error="ValueError: no") for one in range(3)]
    stands = standing(POOL, pod(POOL), counts={"ended": [EndedCall(job, NOW, "a") for job in failed]})
    found = told(POOL, stands, "AgentsAvailable")
    assert found == told(POOL, stands, "Ready")
    assert found[:2] == ("False", "AgentFailing")
    assert "on pod a: ValueError: no. See `kubectl logs a`." in found[2]


@pytest.mark.parametrize(
    ("calls", "waiting", "expected"),
    [
        (2, 0, ("False", "WithinLimits")),
        (3, 0, ("True", "MaxReplicasReached")),
        (3, 4, ("True", "MaxReplicasReached")),
    ],
)
def test_scaling_limited(calls: int, waiting: int, expected: tuple[str, str]) -> None:
    pods = [pod(SCALED, str(number), worker=replace(FREE, sessions=1)) for number in range(calls)]
    told_status, reason, message = told(SCALED, standing(SCALED, *pods, counts={"waiting": waiting}), "ScalingLimited")
    assert (told_status, reason) == expected
    assert ("spec.autoscaling.maxReplicas" in message) is (reason == "MaxReplicasReached")
    assert ("4 rooms wait for an agent." in message, "rooms wait" in message) == (waiting == 4, waiting == 4)


@pytest.mark.parametrize(
    ("pool", "stands", "expected", "words"),
    [
        (BARE, standing(BARE, pod(BARE)), ("False", "RunnerNotInjected"), "your own code keeps sessionsPerPod"),
        (OWN, standing(OWN, pod(OWN)), ("True", "Applied"), "applies everything"),
        (OWN, standing(OWN), ("Unknown", "NotHeard"), "or set spec.agent.runner to None for an agent that is made"),
        (OWN, standing(OWN, pod(OWN, inputs="former")), ("Unknown", "NotHeard"), "No pod of this version answers"),
        (
            OWN,
            standing(OWN, pod(OWN, worker=None, crash="Pod a ended with exit code 1: ImportError: models")),
            ("Unknown", "NotHeard"),
            "No pod of this version has answered yet: see its log. Pod a ended with exit code 1: ImportError: models",
        ),
        (
            OWN,
            standing(OWN, pod(OWN, worker=None, crash=f"Pod a ended with exit code 78: {RUNNER_REFUSES}too old.")),
            ("False", "WorkerRefused"),
            "Pod a ended with exit code 78: The runner starts no worker: too old. See the log of that pod, and",
        ),
        (
            OWN,
            standing(
                OWN,
                pod(OWN, "a", worker=replace(FREE, not_applied=("the cap", "a drain"))),
                pod(OWN, "b", worker=replace(FREE, not_applied=("a drain",))),
            ),
            ("False", "PartlyApplied"),
            "Not applied in this image: a drain; the cap.",
        ),
    ],
)
def test_runner_applied(pool: VoiceAgentPool, stands: Standing, expected: tuple[str, str], words: str) -> None:
    *found, message = told(pool, stands, "RunnerApplied")
    assert tuple(found) == expected
    assert words in message


@pytest.mark.parametrize(
    ("pool", "conditions"),
    [
        (POOL, set()),
        (models.pool(autoscaling={"mode": "External"}), set()),
        (SCALED, {"ScalingLimited"}),
        (OWN, {"RunnerApplied"}),
        (models.pool(roomPrefix="phone-"), {"RoomPrefixAccepted"}),
    ],
)
def test_which_conditions_there_are(pool: VoiceAgentPool, conditions: set[str]) -> None:
    there = {one.type for one in outcome(pool, standing(pool)).conditions}
    assert there - {"Ready", "Progressing", "AgentsAvailable", "ProvidersAccepted"} == conditions


def test_pods_and_calls_are_counted() -> None:
    pods = [
        pod(POOL, "idle"),
        pod(POOL, "busy", worker=BUSY),
        pod(POOL, "starting", **STARTING),
        pod(POOL, "leaving", worker=BUSY, leaving=True),
        pod(POOL, "old", "old", worker=BUSY),
        pod(POOL, "finished", worker=None, finished=True),
    ]
    fields = outcome(POOL, standing(POOL, *pods, known=both(POOL), counts={"waiting": 2})).fields
    assert fields is not None
    counted = plain(fields)
    versions = {one["revision"]: one for one in counted.pop("versions")}
    assert counted == {
        "agentName": "front-desk",
        "selector": counted["selector"],
        "revision": "new",
        "desiredReplicas": 1,
        "desiredReason": "1 pod by the default.",
        "replicas": 4,
        "readyReplicas": 3,
        "updatedReplicas": 3,
        "drainingReplicas": 1,
        "busyReplicas": 3,
        "idleReplicas": 1,
        "activeSessions": 9,
        "freeSessions": 6,
        "waitingSessions": 2,
        "remainingSessions": 6,
        "sessions": [],
    }
    of_new = {name: versions["new"][name] for name in ("track", "replicas", "readyReplicas", "activeSessions")}
    assert of_new == {"track": "Stable", "replicas": 4, "readyReplicas": 2, "activeSessions": 6}
    assert (versions["new"]["sessions"], versions["new"]["failedSessions"]) == (14, 4)


def test_what_was_noted_of_a_version_shows_no_password() -> None:
    known = [version(CANARY, "old", failed="no pod was ready: redis://app:s3cret@cache"), version(CANARY)]
    fields = outcome(CANARY, standing(CANARY, known=known, rollout=Rollout("new"))).fields
    assert fields is not None
    messages = {one["revision"]: one.get("message") for one in plain(fields)["versions"]}
    assert messages == {"old": "no pod was ready: redis://[redacted]@cache", "new": None}


@pytest.mark.parametrize(
    ("rollout", "notes", "pods", "track"),
    [
        (Rollout("old"), {}, False, "Stable"),
        (Rollout("new", "old"), {}, False, "Canary"),
        (Rollout("new"), {"failed": "It failed."}, True, "Failed"),
        (Rollout("new"), {}, True, "Old"),
        (Rollout("new"), {}, False, "History"),
    ],
)
def test_which_track_a_version_is_on(rollout: Rollout, notes: dict[str, Any], pods: bool, track: str) -> None:
    known = [version(CANARY, "old", **notes), version(CANARY)]
    there = [pod(CANARY, "b", "old")] if pods else []
    stands = standing(CANARY, *there, known=known, rollout=rollout)
    fields = outcome(CANARY, stands).fields
    assert fields is not None
    assert {one["revision"]: one["track"] for one in plain(fields)["versions"]}["old"] == track


def test_a_canary_is_told_with_its_calls() -> None:
    canary = pod(CANARY, "b", track="canary", worker=BUSY)
    for rollout, expected in (
        (Rollout("old"), None),
        (
            Rollout("old", "new"),
            {"revision": "new", "deployment": "canary-new", "weight": 50, "sessions": 7, "failedSessions": 2},
        ),
    ):
        fields = outcome(CANARY, standing(CANARY, canary, known=both(CANARY), rollout=rollout)).fields
        assert fields is not None
        assert plain(fields).get("canary") == expected


@pytest.mark.parametrize(("free", "available"), [(0, (False, "RolledBack")), (2, (True, "Available"))])
def test_a_pass_that_could_not_go_on_still_counts_and_offers_what_serves(
    free: int, available: tuple[bool, str]
) -> None:
    counts = Counts(free=free, waiting=1, unconnected=0, unanswered=None, gone={})
    stopped = halted(POOL, Pods([pod(POOL), pod(POOL, "b", worker=BUSY, leaving=True)]), counts, FAILED)
    assert stopped.fields is not None
    counted = plain(stopped.fields)
    names = ("replicas", "drainingReplicas", "freeSessions", "waitingSessions", "updatedReplicas")
    assert [counted[name] for name in names] == [1, 1, free, 1, 0]
    told_of = {one.type: (one.status, one.reason) for one in stopped.conditions}
    assert told_of["Ready"] == (False, "RolledBack")
    assert told_of["AgentsAvailable"] == available
