"""What holds of the rollout whatever pods there are and whatever is wanted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.pools.decisions.rollout import CANARY, MAX_CREATED, STABLE, Plan, PodView, Target, plan
from tests.unit.operator.pools.decisions.rollout_values import canary, pod, stable, starting

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
