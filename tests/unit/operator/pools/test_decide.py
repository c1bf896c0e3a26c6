"""Which versions serve and how many pods of each: deciding over what was observed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.errors import Problem
from livekit_operator.pools.decide import Plan, decide, decide_versions
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.pools.manifests.pod import inputs_digest
from livekit_operator.pools.pods import ObservedPod, Pods
from livekit_operator.views import WorkerStatus
from tests.fakes import models
from tests.unit.operator.pools import standings
from tests.unit.operator.pools.standings import INPUTS, NOW, OBSERVATION, pod, runnable, version

SCALING = {"minReplicas": 0, "maxReplicas": 10, "bufferSessions": 0, "scaleDownStabilizationSeconds": 0}
STARTING: dict[str, Any] = {"ready": False, "worker": None}
CANARY = {"canary": {"weight": 50}}


def decided(spec: dict[str, Any], *pods: ObservedPod, rollout: Rollout = Rollout("new"), **facts: Any) -> Plan:  # noqa: B008
    """Return the plan for a pool with these pods, and with the versions `old` and `new`."""
    pool = models.pool(**spec)
    notes = facts.pop("notes", {})
    known = [version(pool, "old", proven=NOW), version(pool, "new", **notes)]
    return decide(pool, replace(OBSERVATION, pods=Pods(pods)), runnable(known, rollout, **facts))


def wanted(plan: Plan) -> dict[str, int]:
    """Return track -> pods that are created on it where there is none yet."""
    return {track: plan.pods.create.count(track) for track in sorted(set(plan.pods.create))}


@pytest.mark.parametrize(
    ("spec", "rollout", "expected"),
    [
        ({"replicas": 2}, Rollout("new"), {"stable": 2}),
        ({"replicas": 3, "rollout": CANARY}, Rollout("old", "new"), {"canary": 2, "stable": 3}),
        ({"replicas": 3, "rollout": CANARY}, Rollout("new"), {"stable": 3}),
        ({"replicas": 3}, Rollout("old", retried="new"), {"canary": 1, "stable": 3}),
        ({"replicas": 0}, Rollout("old", retried="new"), {}),
        ({"replicas": 0, "rollout": CANARY}, Rollout("old", "new"), {}),
    ],
)
def test_how_many_pods_of_which_track(spec: dict[str, Any], rollout: Rollout, expected: dict[str, int]) -> None:
    plan = decided(spec, rollout=rollout)
    digest = inputs_digest(models.pool(), INPUTS)
    assert wanted(plan) == expected
    assert plan.targets["stable"] == f"{rollout.stable}/{digest}"
    assert plan.targets.get("canary") == (
        f"{rollout.canary or rollout.retried}/{digest}" if rollout.canary or rollout.retried else None
    )


@pytest.mark.parametrize(("calls", "pods"), [(4, 0), (8, 1), (12, 2)])
def test_a_canary_has_pods_for_the_calls_that_it_has(calls: int, pods: int) -> None:
    """Its pods may have been made to take more than they take now."""
    canary = pod(models.pool(), track="canary", worker=WorkerStatus(True, calls))
    spec = {"replicas": 1, "rollout": CANARY, "sessionsPerPod": 4}
    plan = decided(spec, canary, pod(models.pool(), "b", "old"), rollout=Rollout("old", "new"))
    assert (plan.pods.create.count("canary"), plan.pods.delete) == (pods, ())


def test_pods_take_as_many_calls_as_their_own_version_does() -> None:
    pool = models.pool(sessionsPerPod=4, autoscaling=SCALING)
    former = version(models.pool(sessionsPerPod=1), "old", proven=NOW)
    for rollout, replicas in ((Rollout("old"), 4), (Rollout("new"), 1)):
        known = runnable([former, version(pool)], rollout, waiting=4)
        assert decide(pool, OBSERVATION, known).desired.replicas == replicas


def test_what_was_wanted_lately_is_kept_for_a_while() -> None:
    recent = [(NOW - timedelta(seconds=30), 5)]
    for seconds, replicas in ((60, 5), (20, 0)):
        scaling = {**SCALING, "scaleDownStabilizationSeconds": seconds}
        assert decided({"autoscaling": scaling}, recent=recent).desired.replicas == replicas


NIGHT = {"start": "00:00", "end": "23:59", "minReplicas": 3}


def test_a_schedule_that_cannot_be_read_is_told_and_does_not_count() -> None:
    lost = {**NIGHT, "timeZone": "Europe/Atlantis", "minReplicas": 9}
    plan = decided({"autoscaling": {**SCALING, "schedules": [lost, NIGHT]}})
    assert plan.desired.replicas == 3
    assert plan.rollout.problem is not None
    assert plan.rollout.problem.reason == "InvalidSchedule"
    assert "Europe/Atlantis" in plan.rollout.problem.message
    first = Problem(reasons.ROLLED_BACK, "It failed.")
    plan = decided({"autoscaling": {**SCALING, "schedules": [lost]}}, rollout=Rollout("old", None, first))
    assert plan.rollout.problem == first, "what is wrong with versions is told first"


@pytest.mark.parametrize(
    ("scaling", "facts", "notes", "replicas"),
    [
        pytest.param(SCALING, STARTING, {}, 1, id="not known yet"),
        pytest.param(SCALING, {}, {}, 0, id="it is ready"),
        pytest.param(SCALING, STARTING, {"served": True}, 0, id="it has served"),
        pytest.param(SCALING, STARTING, {"proven": NOW}, 0, id="it is proven"),
        pytest.param(SCALING, STARTING, {"failed": "no pod became ready"}, 0, id="it has failed"),
        pytest.param(SCALING, {**STARTING, "leaving": True}, {}, 0, id="it leaves"),
        pytest.param(SCALING, {**STARTING, "revision": "old"}, {}, 0, id="another version's"),
        pytest.param({"mode": "External"}, STARTING, {}, 0, id="others scale"),
        pytest.param(None, STARTING, {}, 0, id="nothing scales"),
    ],
)
def test_a_version_that_nobody_waits_for_stays_until_it_is_known_whether_it_can_serve(
    scaling: dict[str, Any] | None, facts: dict[str, Any], notes: dict[str, Any], replicas: int
) -> None:
    spec: dict[str, Any] = {"autoscaling": scaling} if scaling else {}
    if scaling is not SCALING:
        spec["replicas"] = 0
    plan = decided(spec, pod(models.pool(), **facts), notes=notes)
    assert plan.desired.replicas == replicas
    assert ("until it is known" in plan.desired.reason) is bool(replicas)


def test_a_version_that_somebody_waits_for_has_as_many_pods_as_that_takes() -> None:
    plan = decided({"autoscaling": SCALING, "sessionsPerPod": 1}, pod(models.pool(), **STARTING), waiting=3)
    assert plan.desired.replicas == 3


def test_a_canary_that_nobody_waits_for_stays_as_well() -> None:
    spec = {"autoscaling": SCALING, "rollout": CANARY}
    plan = decided(spec, pod(models.pool(), track="canary", **STARTING), rollout=Rollout("old", "new"))
    assert plan.pods.delete == ()


@pytest.mark.parametrize(
    ("canary", "notes", "expected"),
    [
        (None, {}, Rollout("new")),
        ({"weight": 10}, {}, Rollout("old", "new")),
        ({"weight": 10, "promote": "new"}, {}, Rollout("new")),
        ({"weight": 10}, {"proven": NOW}, Rollout("new")),
    ],
)
def test_which_versions_run(canary: dict[str, Any] | None, notes: dict[str, Any], expected: Rollout) -> None:
    pool = models.pool(rollout={"canary": canary} if canary else {})
    known = {"old": version(pool, "old", proven=NOW), "new": version(pool, "new", **notes)}
    assert decide_versions(pool, "new", known) == expected


def test_a_plan_says_of_what_it_was_made() -> None:
    plan = standings.standing(models.pool()).plan
    assert (plan.moment, plan.again, plan.inputs) == (NOW, float("inf"), {"new": INPUTS})
