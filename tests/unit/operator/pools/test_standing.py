"""How a pool stands after a pass."""

from dataclasses import replace
from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.errors import Problem
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.views import WorkerStatus
from tests.fakes import models
from tests.unit.operator.pools.standings import NOW, pod, standing, version

POOL = models.pool(rollout={"canary": {"weight": 50}})
KNOWN = [version(POOL, "old", created=NOW - timedelta(days=1), proven=NOW), version(POOL), version(POOL, "another")]


def test_what_was_refused_comes_before_what_is_wrong_with_versions() -> None:
    refused, failed = Problem(reasons.KUBERNETES_REFUSED, "A quota."), Problem(reasons.ROLLED_BACK, "It failed.")
    rollout = Rollout("old", "new", failed)
    assert standing(POOL, known=KNOWN, rollout=rollout, refused=refused).rollout == Rollout("old", "new", refused)
    assert standing(POOL, known=KNOWN, rollout=rollout).rollout == rollout


def test_versions_are_told_newest_first() -> None:
    assert [one.revision for one in standing(POOL, known=KNOWN).versions] == ["new", "another", "old"]


def test_calls_of_a_version_are_those_of_all_its_workers_also_of_those_that_are_gone() -> None:
    pods = [
        pod(POOL, "a", worker=WorkerStatus(True, 0, started=5, failed=1)),
        pod(POOL, "b", worker=WorkerStatus(True, 0, started=2), leaving=True),
        pod(POOL, "c", worker=None),
        pod(POOL, "d", "old", worker=WorkerStatus(True, 0, started=9)),
    ]
    stands = standing(POOL, *pods, known=KNOWN, counts={"gone": {"new": (10, 3)}})
    assert [stands.calls_of(revision) for revision in ("new", "old", "another")] == [(17, 4), (9, 0), (0, 0)]
    assert [pod.view.name for pod in stands.of("new")] == ["a", "b", "c"]


def test_which_pods_are_to_stay_as_they_are() -> None:
    pods = [
        pod(POOL, "a"),
        pod(POOL, "leaving", leaving=True),
        pod(POOL, "old", "old"),
        pod(POOL, "with former keys", inputs="former"),
        pod(POOL, "canary", track="canary"),
    ]
    assert [pod.view.name for pod in standing(POOL, *pods, known=KNOWN).settled] == ["a"]


def test_trouble_is_that_of_the_first_pod_that_stays() -> None:
    leaving = pod(POOL, "a", trouble="no node", leaving=True)
    stuck = [pod(POOL, name, trouble=f"no image for {name}", ready=False) for name in ("b", "c")]
    assert standing(POOL, leaving).trouble is None
    assert standing(POOL, leaving, pod(POOL, "x"), *stuck).trouble == "no image for b"


def test_pods_whose_workers_do_not_heed_it_are_told_by_name() -> None:
    deaf = [replace(pod(POOL, name, leaving=True), unheard=True) for name in ("b", "a")]
    stands = standing(POOL, pod(POOL, "c"), *deaf)
    assert [one.view.name for one in stands.unheard] == ["a", "b"]


def test_of_several_pods_that_are_not_ready_always_the_same_one_is_told() -> None:
    leaving = replace(pod(POOL, "a", leaving=True), unready="a is cold")
    cold = [replace(pod(POOL, name, ready=False), unready=f"{name} is cold") for name in ("c", "b")]
    assert standing(POOL, leaving).unready is None
    assert standing(POOL, leaving, *cold).unready == standing(POOL, *reversed(cold)).unready == "b is cold"
