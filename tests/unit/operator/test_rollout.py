"""Pods come and go without a call being cut, and always come to the number and version that are wanted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.rollout import MAX_CREATED, Plan, PodView, plan

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def pod(
    name: str,
    revision: str = "new",
    *,
    ready: bool = True,
    sessions: int | None = 0,
    leaving: bool = False,
    finished: bool = False,
    age: int = 0,
) -> PodView:
    return PodView(name, revision, ready, leaving, finished, sessions, START - timedelta(seconds=age))


def starting(name: str, revision: str = "new") -> PodView:
    return pod(name, revision, ready=False, sessions=None)


@pytest.mark.parametrize(
    ("pods", "desired", "expected"),
    [
        pytest.param([], 3, Plan(create=3), id="the first pods come all at once"),
        pytest.param([], 500, Plan(create=MAX_CREATED), id="a wrong number does not flood the cluster"),
        pytest.param([], 0, Plan(), id="none wanted, none there"),
        pytest.param([pod("a"), pod("b")], 2, Plan(), id="as wanted"),
        pytest.param([pod("a"), starting("b")], 2, Plan(), id="one is still starting"),
        pytest.param([pod("a"), pod("b", leaving=True)], 2, Plan(create=1), id="a leaving pod does not count"),
        pytest.param([pod("a", sessions=2), pod("b"), pod("c")], 1, Plan(delete=("b", "c")), id="idle pods leave"),
        pytest.param([pod("a", sessions=1), pod("b", sessions=2)], 1, Plan(), id="busy pods stay"),
        pytest.param([pod("a"), pod("b", sessions=None)], 1, Plan(delete=("a",)), id="silent means maybe busy"),
        pytest.param([pod("b"), pod("c", sessions=None)], 0, Plan(delete=("b",)), id="a silent pod is not killed"),
        pytest.param([pod("a", sessions=3), starting("b")], 1, Plan(delete=("b",)), id="what never served leaves"),
        pytest.param([pod("a", age=9), pod("b", age=5), pod("c", age=7)], 2, Plan(delete=("b",)), id="youngest first"),
        pytest.param([pod("a", finished=True)], 1, Plan(create=1, delete=("a",)), id="a finished pod is replaced"),
        pytest.param([pod("a", finished=True, leaving=True)], 0, Plan(), id="a finished pod leaves already"),
        pytest.param([pod("a", "old")], 1, Plan(create=1), id="the new one comes first"),
        pytest.param([pod("a", "old"), starting("b")], 1, Plan(), id="not ready does not stand in"),
        pytest.param([pod("a", "old"), pod("b")], 1, Plan(delete=("a",)), id="then the old one leaves"),
        pytest.param([pod("a", "old", sessions=2), pod("b")], 1, Plan(delete=("a",)), id="busy or not: it drains"),
        pytest.param(
            [pod(name, "old") for name in "abcd"], 4, Plan(create=1), id="a quarter more while versions change"
        ),
        pytest.param(
            [*(pod(name, "old", sessions=n) for n, name in enumerate("abcd")), pod("n")],
            4,
            Plan(delete=("a",)),
            id="idle old ones first",
        ),
        pytest.param([starting("a", "old")], 1, Plan(create=1, delete=("a",)), id="an old one of no use leaves now"),
        pytest.param(
            [pod("a", "old", sessions=1), pod("b", "old")], 0, Plan(delete=("b", "a")), id="none wanted of the old"
        ),
    ],
)
def test_plan(pods: list[PodView], desired: int, expected: Plan) -> None:
    assert plan(pods, desired=desired, revision="new") == expected


pod_views = st.builds(
    pod,
    name=st.uuids().map(str),
    revision=st.sampled_from(["new", "old", "older"]),
    ready=st.booleans(),
    sessions=st.none() | st.integers(0, 4),
    leaving=st.booleans(),
    finished=st.booleans(),
    age=st.integers(0, 1000),
)
pools = st.lists(pod_views, max_size=12, unique_by=lambda view: view.name)
numbers = st.integers(0, 12)


@given(pools, numbers)
def test_a_busy_pod_of_the_wanted_revision_never_leaves(pods: list[PodView], desired: int) -> None:
    deleted = set(plan(pods, desired=desired, revision="new").delete)
    busy = {p.name for p in pods if p.revision == "new" and p.sessions and not p.finished}
    maybe_busy = {p.name for p in pods if p.revision == "new" and p.sessions is None and p.ready and not p.finished}
    assert not deleted & (busy | maybe_busy)


@given(pools, numbers)
def test_ready_pods_never_fall_below_the_number_wanted(pods: list[PodView], desired: int) -> None:
    deleted = set(plan(pods, desired=desired, revision="new").delete)
    serving = [p for p in pods if p.ready and not p.leaving and not p.finished]
    left = [p for p in serving if p.name not in deleted]
    assert len(left) >= min(desired, len(serving))


@given(pools, numbers)
def test_nothing_is_deleted_twice_and_what_is_finished_goes(pods: list[PodView], desired: int) -> None:
    decided = plan(pods, desired=desired, revision="new")
    assert len(set(decided.delete)) == len(decided.delete)
    assert not set(decided.delete) & {p.name for p in pods if p.leaving}
    assert {p.name for p in pods if p.finished and not p.leaving} <= set(decided.delete)
    assert 0 <= decided.create <= MAX_CREATED


@given(pools, numbers, st.data())
def test_comes_to_what_is_wanted(pods: list[PodView], desired: int, data: st.DataObject) -> None:
    """Pods become ready in their own time, leaving ones end, calls end: in the end it is as wanted, and stays so."""
    made = 0
    for step in range(100):
        decided = plan(pods, desired=desired, revision="new")
        if step > 8:
            pods = [replace(p, ready=True, sessions=0) for p in pods]  # calls end and starts succeed at last
            decided = plan(pods, desired=desired, revision="new")
            current = [p for p in pods if not p.leaving]
            if decided == Plan():
                assert [p.revision for p in current] == ["new"] * desired
                return
        pods = [replace(p, leaving=p.leaving or p.name in decided.delete) for p in pods]
        pods += [starting(f"made-{made + n}") for n in range(decided.create)]
        made += decided.create
        if step <= 8:
            turn = data.draw(st.sets(st.sampled_from(pods)) if pods else st.just(set()))
            pods = [
                replace(p, ready=True, sessions=p.sessions or 0) if p in turn and not p.leaving else p for p in pods
            ]
        pods = [p for p in pods if not (p.leaving and (p.sessions or 0) == 0)]
    raise AssertionError(f"does not converge: {pods}")
