"""Pods come and go without a call being cut, and always come to the number and version that are wanted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.pools.decisions.rollout import CANARY, MAX_CREATED, STABLE, Plan, PodView, Target, plan

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
QUARTER = "25%"


def pod(name: str, revision: str = "new", *, age: int = 0, **facts: Any) -> PodView:
    """Return a pod that is ready and has no calls, apart from the fields that are given."""
    created = START - timedelta(seconds=age)
    idle = PodView(name, revision, ready=True, leaving=False, finished=False, sessions=0, created=created)
    return replace(idle, **facts)


def starting(name: str, revision: str = "new", track: str = STABLE, *, failing: bool = False) -> PodView:
    return pod(name, revision, ready=False, sessions=None, track=track, failing=failing)


def stable(desired: int, revision: str = "new") -> Target:
    return Target(f"{revision}/", desired, STABLE)


def canary(desired: int, revision: str = "next") -> Target:
    return Target(f"{revision}/", desired, CANARY)


def create(number: int, *delete: str) -> Plan:
    return Plan((STABLE,) * number, delete)


def delete(*names: str) -> Plan:
    return Plan((), names)


@pytest.mark.parametrize(
    ("pods", "desired", "expected"),
    [
        pytest.param([], 3, create(3), id="the first pods come all at once"),
        pytest.param([], 500, create(MAX_CREATED), id="a wrong number does not flood the cluster"),
        pytest.param([], 0, Plan(), id="none wanted, none there"),
        pytest.param([pod("a"), pod("b")], 2, Plan(), id="as wanted"),
        pytest.param([pod("a"), starting("b")], 2, Plan(), id="one is still starting"),
        pytest.param([pod("a"), starting("b", failing=True)], 2, Plan(), id="a failing one is not made once more"),
        pytest.param([pod("a"), pod("b", leaving=True)], 2, create(1), id="a leaving pod does not count"),
        pytest.param([pod("a", sessions=2), pod("b"), pod("c")], 1, delete("b", "c"), id="idle pods leave"),
        pytest.param([pod("a", sessions=1), pod("b", sessions=2)], 1, Plan(), id="busy pods stay"),
        pytest.param([pod("a"), pod("b", sessions=None)], 1, delete("a"), id="silent means maybe busy"),
        pytest.param([pod("b"), pod("c", sessions=None)], 0, delete("b"), id="a silent pod is not killed"),
        pytest.param([pod("a", sessions=1), pod("b")], 0, delete("b"), id="to zero: idle pods only"),
        pytest.param([pod("a", sessions=3), starting("b")], 1, delete("b"), id="what never served leaves"),
        pytest.param([starting("a"), starting("b"), starting("c")], 1, delete("a", "b"), id="too many are starting"),
        pytest.param(
            [pod("a"), pod("b", ready=False, sessions=1)], 1, Plan(), id="the only ready one stays, idle or not"
        ),
        pytest.param([pod("a", age=9), pod("b", age=5), pod("c", age=7)], 2, delete("b"), id="youngest first"),
        pytest.param([pod("a", finished=True)], 1, create(1, "a"), id="a finished pod is replaced"),
        pytest.param([pod("a", finished=True, leaving=True)], 0, Plan(), id="a finished pod leaves already"),
        pytest.param(
            [pod("a", ready=False, sessions=2, ending=True)], 1, create(1, "a"), id="who ends by itself is replaced"
        ),
        pytest.param(
            [pod("a", ready=False, sessions=2, ending=True), pod("b")], 1, delete("a"), id="who ends, when too many"
        ),
        pytest.param(
            [pod("a", ready=False, sessions=2, ending=True, leaving=True)], 1, create(1), id="who ends leaves already"
        ),
    ],
)
def test_one_version(pods: list[PodView], desired: int, expected: Plan) -> None:
    assert plan(pods, [stable(desired)], max_surge=QUARTER) == expected


OLD = [pod(name, "old") for name in "abcd"]


@pytest.mark.parametrize(
    ("pods", "desired", "expected"),
    [
        pytest.param([pod("a", "old")], 1, create(1), id="the new one comes first"),
        pytest.param([pod("a", "old"), starting("b")], 1, Plan(), id="created does not stand in"),
        pytest.param([pod("a", "old"), starting("b", failing=True)], 1, Plan(), id="one that fails never does"),
        pytest.param([pod("a", "old"), pod("b")], 1, delete("a"), id="then the old one leaves"),
        pytest.param([pod("a", "old", sessions=2), pod("b")], 1, delete("a"), id="busy or not: it drains"),
        pytest.param([pod("a", "old", sessions=2), starting("b")], 1, Plan(), id="busy, and nothing stands in"),
        pytest.param(OLD, 4, create(1), id="a quarter more while versions change"),
        pytest.param(
            [*(pod(name, "old", sessions=n) for n, name in enumerate("abcd")), pod("n")],
            4,
            delete("a"),
            id="idle old ones first",
        ),
        pytest.param([*OLD[1:], pod("n")], 4, create(1), id="the next new one"),
        pytest.param(
            [*(pod(name, "old", sessions=2) for name in "bcd"), pod("m"), pod("n")], 4, delete("b"), id="one for one"
        ),
        pytest.param(
            [pod("a", "old", sessions=1), pod("b", "older"), pod("n")], 2, delete("b"), id="idle first in all versions"
        ),
        pytest.param(
            [pod("a", "old", sessions=None), pod("b", "old", sessions=3), pod("n")],
            2,
            delete("b"),
            id="a silent one counts as the busiest",
        ),
        pytest.param([starting("a", "old")], 1, create(1, "a"), id="an old one of no use leaves now"),
        pytest.param(
            [pod("a", "old"), pod("b", "old", ready=False, sessions=2, failing=True), starting("c")],
            2,
            create(1, "b"),
            id="an old one that fails leaves now",
        ),
        pytest.param(
            [pod("a", "old"), pod("b", "old", ready=False, sessions=1), pod("n")],
            1,
            delete("b", "a"),
            id="an old one that is not ready is not missed",
        ),
        pytest.param(
            [pod("b", "old", ready=False, sessions=1), pod("n")], 1, delete("b"), id="nor where it is the last old one"
        ),
        pytest.param(
            [pod("b", "old", ready=False, sessions=1), pod("n")], 2, create(1), id="but ready ones must be enough"
        ),
        pytest.param([pod("a", "old", sessions=1), pod("b", "old")], 0, delete("b"), id="to zero: idle old ones only"),
        pytest.param(
            [pod("a", "old", sessions=1), pod("b", "old", sessions=1), pod("c", "old")],
            1,
            create(1, "c"),
            id="fewer wanted, no new one ready: an idle old one leaves, busy ones stay",
        ),
        pytest.param(
            [pod(name, "old", sessions=1) for name in "abc"], 1, create(1), id="busy old ones do not use up the surge"
        ),
        pytest.param(
            [*(pod(name, "old", sessions=1) for name in "abc"), starting("n")], 1, Plan(), id="nor beyond the surge"
        ),
        pytest.param(
            [*(pod(name, "old", sessions=1) for name in "abc"), pod("n")],
            1,
            delete("a", "b", "c"),
            id="fewer wanted, and the new one stands in for all",
        ),
        pytest.param([pod("a", "old"), pod("b", "old"), pod("n")], 6, create(5), id="more wanted while it rolls"),
        pytest.param(
            [pod("a", "new"), pod("b", "new"), pod("c", "failed", ready=False, sessions=None)],
            2,
            delete("c"),
            id="taken back while it rolled: the first ones are current again",
        ),
        pytest.param(
            [pod("a", "new"), pod("b", "new"), pod("c", "failed", sessions=1)],
            3,
            create(1),
            id="taken back while it rolled: what was replaced comes again",
        ),
        pytest.param([pod("a", inputs="other")], 1, create(1), id="other keys make another version"),
    ],
)
def test_versions_change(pods: list[PodView], desired: int, expected: Plan) -> None:
    assert plan(pods, [stable(desired)], max_surge=QUARTER) == expected


@pytest.mark.parametrize(
    ("max_surge", "expected"),
    [(1, 1), (3, 3), (50, 4), ("1%", 1), ("50%", 2), ("51%", 3), ("100%", 4)],
)
def test_surge_limits_what_is_created_beside_older_ones(max_surge: int | str, expected: int) -> None:
    assert plan(OLD, [stable(4)], max_surge=max_surge) == create(expected)


@pytest.mark.parametrize(
    ("pods", "desired", "expected"),
    [
        pytest.param([pod("a", unwanted=True), pod("b")], 2, create(1), id="replaced first"),
        pytest.param([pod("a", unwanted=True), pod("b"), starting("c")], 2, Plan(), id="by ready ones"),
        pytest.param([pod("a", unwanted=True, sessions=2), pod("b"), pod("c")], 2, delete("a"), id="busy: it drains"),
        pytest.param([pod("a", unwanted=True)], 1, create(1), id="the only one stays until then"),
        pytest.param([pod("a", unwanted=True), starting("b")], 1, Plan(), id="the only one, its replacement starts"),
        pytest.param([pod("a", unwanted=True, sessions=1)], 0, Plan(), id="none wanted: busy ones end their calls"),
        pytest.param([pod("a", unwanted=True)], 0, delete("a"), id="none wanted: an idle one leaves"),
        pytest.param(
            [pod("a", "old", age=1), pod("b", "old", unwanted=True, age=9), pod("c")],
            2,
            delete("b"),
            id="before others of older versions",
        ),
        pytest.param(
            [pod("a", "old"), pod("b", unwanted=True, sessions=1), pod("c")],
            2,
            delete("a"),
            id="but idle before busy",
        ),
    ],
)
def test_nodes_are_emptied(pods: list[PodView], desired: int, expected: Plan) -> None:
    assert plan(pods, [stable(desired)], max_surge=QUARTER) == expected


@pytest.mark.parametrize(
    ("pods", "targets", "expected"),
    [
        pytest.param([pod("a")], [stable(1), canary(1)], Plan((CANARY,)), id="a canary is made beside the stable ones"),
        pytest.param(
            [pod("a"), starting("b", "next", CANARY)], [stable(1), canary(1)], Plan(), id="and leaves them alone"
        ),
        pytest.param(
            [],
            [canary(15), stable(15)],
            Plan((STABLE,) * 15 + (CANARY,) * 5),
            id="stable ones first where too many are wanted",
        ),
        pytest.param(
            [pod("a"), pod("b", "next", track=CANARY), pod("c", "next", track=CANARY)],
            [stable(1), canary(1)],
            delete("b"),
            id="a canary has its own number",
        ),
        pytest.param(
            [pod("a"), pod("b", "next", track=CANARY, sessions=2)],
            [stable(1)],
            delete("b"),
            id="a canary that is taken back drains at once",
        ),
        pytest.param(
            [pod("a"), pod("b", "next", track=CANARY)],
            [stable(2)],
            create(1),
            id="but not while the stable ones are too few for its calls",
        ),
        pytest.param(
            [pod("a"), starting("b", "next", CANARY, failing=True)],
            [stable(2)],
            create(1, "b"),
            id="a failing one goes at once",
        ),
        pytest.param(
            [pod("b", "next", track=CANARY)],
            [stable(1)],
            create(1),
            id="a canary never stands in for stable ones",
        ),
        pytest.param(
            [pod("b", "next", track=CANARY, sessions=1), pod("c", "next", track=CANARY)],
            [stable(0)],
            delete("c"),
            id="none wanted: an idle canary leaves",
        ),
        pytest.param(
            [pod("a", "old"), pod("b", "new", track=CANARY)],
            [stable(1, "new")],
            create(1, "b"),
            id="promoted: its pods are of another track, and stable ones of the version come",
        ),
        pytest.param(
            [pod("a"), pod("b", "next", track=CANARY)],
            [stable(1), canary(1, "after-next")],
            Plan((CANARY,)),
            id="another canary: the new one first",
        ),
        pytest.param(
            [pod("a"), pod("b", "next", track=CANARY), pod("c", "after-next", track=CANARY)],
            [stable(1), canary(1, "after-next")],
            delete("b"),
            id="another canary: then the former one leaves",
        ),
        pytest.param([pod("a", sessions=1)], [], Plan(), id="nothing wanted at all: busy ones end their calls"),
    ],
)
def test_tracks(pods: list[PodView], targets: list[Target], expected: Plan) -> None:
    assert plan(pods, targets, max_surge=QUARTER) == expected


pod_views = st.builds(
    pod,
    name=st.uuids().map(str),
    revision=st.sampled_from(["new", "old", "older"]),
    ready=st.booleans(),
    sessions=st.none() | st.integers(0, 4),
    leaving=st.booleans(),
    finished=st.booleans(),
    age=st.integers(0, 1000),
    track=st.sampled_from([STABLE, STABLE, CANARY]),
    unwanted=st.sampled_from([False, False, True]),
    failing=st.booleans(),
)
pools = st.lists(pod_views, max_size=12, unique_by=lambda view: view.name)
target_sets = st.builds(
    lambda number, revision, canaries, canary_revision: [
        stable(number, revision),
        *([canary(canaries, canary_revision)] if canaries else []),
    ],
    st.integers(0, 12),
    st.sampled_from(["new", "old"]),
    st.integers(0, 3),
    st.sampled_from(["older", "next"]),
)
surges = st.integers(1, 5) | st.sampled_from(["1%", "25%", "100%"])


def serving(pods: Sequence[PodView], track: str) -> list[PodView]:
    return [p for p in pods if p.ready and not p.leaving and not p.finished and p.track == track]


def maybe_busy(p: PodView) -> bool:
    return bool(p.sessions) or (p.sessions is None and p.ready)


@given(pools, target_sets, surges)
def test_a_busy_pod_that_is_wanted_never_leaves(pods: list[PodView], targets: list[Target], surge: int | str) -> None:
    deleted = set(plan(pods, targets, max_surge=surge).delete)
    wanted = {(target.track, target.version) for target in targets}
    busy = {
        p.name for p in pods if (p.track, p.version) in wanted and not p.unwanted and not p.finished and maybe_busy(p)
    }
    assert not deleted & busy


@given(pools, target_sets, surges)
def test_ready_pods_of_a_track_never_fall_below_the_number_wanted(
    pods: list[PodView], targets: list[Target], surge: int | str
) -> None:
    deleted = set(plan(pods, targets, max_surge=surge).delete)
    for target in targets:
        before = serving(pods, target.track)
        left = [p for p in before if p.name not in deleted]
        assert len(left) >= min(target.desired, len(before))


@given(pools, target_sets, surges)
def test_without_a_ready_new_pod_no_busy_ready_one_leaves(
    pods: list[PodView], targets: list[Target], surge: int | str
) -> None:
    deleted = set(plan(pods, targets, max_surge=surge).delete)
    for target in targets:
        ours = serving(pods, target.track)
        if not any(p.version == target.version and not p.unwanted for p in ours):
            assert not deleted & {p.name for p in ours if maybe_busy(p)}


@given(pools, target_sets, surges)
def test_a_busy_ready_pod_is_never_chosen_while_an_idle_older_one_would_do(
    pods: list[PodView], targets: list[Target], surge: int | str
) -> None:
    deleted = set(plan(pods, targets, max_surge=surge).delete)
    for target in targets:
        ours = serving(pods, target.track)
        if any(p.name in deleted and maybe_busy(p) for p in ours):
            assert all(p.name in deleted for p in ours if p.version != target.version and p.sessions == 0)


@given(pools, target_sets, surges)
def test_nothing_is_deleted_twice_and_what_is_finished_goes(
    pods: list[PodView], targets: list[Target], surge: int | str
) -> None:
    decided = plan(pods, targets, max_surge=surge)
    assert len(set(decided.delete)) == len(decided.delete)
    assert not set(decided.delete) & {p.name for p in pods if p.leaving}
    assert {p.name for p in pods if p.finished and not p.leaving} <= set(decided.delete)
    assert len(decided.create) <= MAX_CREATED


@given(pools, target_sets)
def test_never_more_new_pods_than_wanted_nor_beyond_the_surge(pods: list[PodView], targets: list[Target]) -> None:
    created = Counter(plan(pods, targets, max_surge=2).create)
    for target in targets:
        ours = [p for p in pods if p.track == target.track and not p.leaving and not p.finished]
        current = [p for p in ours if p.version == target.version and not p.unwanted]
        useless = [p for p in ours if p.version != target.version and p.useless]
        older = [p for p in ours if p not in current and p not in useless]
        assert created[target.track] <= max(0, target.desired - len(current))
        if older and created[target.track]:
            assert len(current) + len(older) + created[target.track] <= max(target.desired, len(older)) + 2


@given(pools, target_sets, surges, st.data())
def test_comes_to_what_is_wanted(
    pods: list[PodView], targets: list[Target], surge: int | str, data: st.DataObject
) -> None:
    """Pods become ready in their own time, leaving ones end, calls end: in the end it is as wanted, and stays so."""
    revisions = {target.track: target.version.rstrip("/") for target in targets}
    made = 0
    for step in range(100):
        if step > 8:  # calls end and starts succeed at last
            pods = [replace(p, ready=True, sessions=0, failing=False) for p in pods]
        decided = plan(pods, targets, max_surge=surge)
        if step > 8 and decided == Plan():
            left = Counter((p.track, p.version) for p in pods if not p.leaving and not p.unwanted)
            assert left == Counter({(t.track, t.version): t.desired for t in targets})
            assert not any(p.unwanted and not p.leaving for p in pods)
            return
        pods = [replace(p, leaving=p.leaving or p.name in decided.delete) for p in pods]
        pods += [starting(f"made-{made + n}", revisions[track], track) for n, track in enumerate(decided.create)]
        made += len(decided.create)
        if step <= 8:
            turn = data.draw(st.sets(st.sampled_from(pods)) if pods else st.just(set()))
            pods = [
                replace(p, ready=True, sessions=p.sessions or 0) if p in turn and not p.leaving else p for p in pods
            ]
        pods = [p for p in pods if not (p.leaving and (p.sessions or 0) == 0)]
    raise AssertionError(f"does not converge: {pods}")


@given(st.integers(1, 12), surges, st.data())
def test_a_version_that_never_becomes_ready_takes_no_call_away(
    desired: int, surge: int | str, data: st.DataObject
) -> None:
    sessions = data.draw(st.lists(st.integers(0, 4), min_size=desired, max_size=desired))
    pods = [pod(f"old-{n}", "old", sessions=number) for n, number in enumerate(sessions)]
    for step in range(20):
        decided = plan(pods, [stable(desired)], max_surge=surge)
        assert not {name for name in decided.delete if name.startswith("old")}
        pods += [starting(f"new-{step}-{n}", failing=True) for n in range(len(decided.create))]
    assert len(pods) <= desired + max(1, surge if isinstance(surge, int) else desired)


@given(st.integers(1, 8), st.integers(1, 8), surges, st.lists(st.integers(0, 4), min_size=8, max_size=8))
def test_a_rollout_that_is_taken_back_half_way_comes_back(
    desired: int, steps: int, surge: int | str, sessions: list[int]
) -> None:
    """Pods of the first version that are still there are the wanted ones again."""
    pods = [pod(f"old-{n}", "old", sessions=sessions[n]) for n in range(desired)]
    made = 0
    for step in range(60):
        target = stable(desired, "new" if step < steps else "old")
        decided = plan(pods, [target], max_surge=surge)
        assert not set(decided.delete) & {p.name for p in pods if p.version == target.version and p.sessions}
        pods = [p for p in pods if p.name not in decided.delete]
        pods = [replace(p, ready=True, sessions=p.sessions or 0) for p in pods]
        revision = target.version.rstrip("/")
        pods += [starting(f"made-{made + n}", revision) for n in range(len(decided.create))]
        made += len(decided.create)
    assert [p.revision for p in pods] == ["old"] * desired
