"""The wanted version runs, unless people or its own failure say otherwise."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.api.voiceagentpool import Rollout as RolloutSpec
from livekit_operator.pools.decisions.history import (
    Version,
    choose,
    failed_to_progress,
    prune,
)

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CANARY: dict[str, Any] = {"canary": {"weight": 10}}


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def version(
    revision: str,
    created: int = 0,
    *,
    proven: int | None = None,
    failed: str | None = None,
    served: bool = False,
) -> Version:
    return Version(revision, day(created), None if proven is None else day(proven), failed, served)


ONE = version("one", 1, proven=1)
TWO = version("two", 2, proven=2)
NEW = version("new", 3)
BROKEN = version("new", 3, failed="no pod was ready within 600 s.")
REFUSED = version("new", 3, failed="9 of its 10 calls failed.", served=True)


@pytest.mark.parametrize(
    ("spec", "known", "stable", "canary", "reason"),
    [
        pytest.param({}, [], "new", None, None, id="the first version, not even known"),
        pytest.param({}, [NEW], "new", None, None, id="the first version"),
        pytest.param({}, [ONE, NEW], "new", None, None, id="the next version"),
        pytest.param({}, [ONE, TWO, BROKEN], "two", None, "RolledBack", id="failed: the one before"),
        pytest.param(
            {},
            [version("one", 1, proven=9), TWO, BROKEN],
            "one",
            None,
            "RolledBack",
            id="failed: the one that served last, not the youngest",
        ),
        pytest.param(
            {},
            [ONE, version("two", 2, proven=2, failed="x"), BROKEN],
            "one",
            None,
            "RolledBack",
            id="failed: none that failed itself",
        ),
        pytest.param({}, [version("one", 1), BROKEN], "new", None, "RolloutFailed", id="failed: nothing proven"),
        pytest.param({}, [BROKEN], "new", None, "RolloutFailed", id="failed: the very first"),
        pytest.param(
            {},
            [ONE, version("new", 3, proven=3, failed="x")],
            "one",
            None,
            "RolledBack",
            id="failed after it was proven: it is not its own fallback",
        ),
        pytest.param({"rollbackTo": "one"}, [ONE, TWO, NEW], "one", None, None, id="rolled back"),
        pytest.param({"rollbackTo": "one"}, [ONE, TWO, BROKEN], "one", None, None, id="rolled back from a failed one"),
        pytest.param({"rollbackTo": "new"}, [ONE, BROKEN], "new", None, None, id="a failed one all the same"),
        pytest.param({"rollbackTo": "new"}, [ONE, NEW], "new", None, None, id="rolled back to the wanted one"),
        pytest.param({"rollbackTo": "gone"}, [ONE, NEW], "new", None, "RevisionNotFound", id="back to an unknown one"),
        pytest.param(
            {"rollbackTo": "gone"}, [ONE, BROKEN], "one", None, "RevisionNotFound", id="unknown, and the wanted failed"
        ),
        pytest.param({"rollbackTo": "one", **CANARY}, [ONE, TWO, NEW], "one", None, None, id="a pin ends a canary"),
        pytest.param(
            {"rollbackTo": "gone", **CANARY}, [ONE, NEW], "one", "new", "RevisionNotFound", id="unknown beside a canary"
        ),
        pytest.param(CANARY, [], "new", None, None, id="canary: the first version, not even known"),
        pytest.param(CANARY, [NEW], "new", None, None, id="canary: nothing is proven"),
        pytest.param(CANARY, [version("one", 1), NEW], "new", None, None, id="canary: nothing but unproven ones"),
        pytest.param(CANARY, [ONE, TWO, NEW], "two", "new", None, id="canary: beside the one that served last"),
        pytest.param(CANARY, [ONE, TWO, BROKEN], "two", None, "RolledBack", id="canary: failed already"),
        pytest.param(
            CANARY, [ONE, version("canary", 2), NEW], "one", "new", None, id="canary: another one, before the end"
        ),
        pytest.param(
            CANARY, [ONE, version("new", 3, proven=3)], "new", None, None, id="canary: judged good enough before"
        ),
        pytest.param(CANARY, [version("new", 1, proven=1), TWO], "new", None, None, id="canary: back to a proven one"),
        pytest.param({"canary": {"weight": 10, "promote": "new"}}, [ONE, NEW], "new", None, None, id="promoted"),
        pytest.param(
            {"canary": {"weight": 10, "promote": "two"}}, [ONE, TWO, NEW], "two", "new", None, id="another was promoted"
        ),
        pytest.param(
            {"canary": {"weight": 10, "promote": "new"}},
            [ONE, BROKEN],
            "one",
            None,
            "RolledBack",
            id="promoted, but it failed",
        ),
    ],
)
def test_choose(
    spec: dict[str, Any], known: list[Version], stable: str, canary: str | None, reason: str | None
) -> None:
    chosen = choose(RolloutSpec.model_validate(spec), "new", known)
    assert (chosen.stable, chosen.canary) == (stable, canary)
    assert (chosen.problem and chosen.problem.reason) == reason


@pytest.mark.parametrize(
    ("spec", "known", "expected"),
    [
        (
            {},
            [ONE, BROKEN],
            "Revision new failed: no pod was ready within 600 s. Revision one runs instead. "
            "One pod is still tried: once it is ready for a while, the rollout goes on.",
        ),
        (
            {},
            [ONE, REFUSED],
            "Revision new failed: 9 of its 10 calls failed. Revision one runs instead. "
            "Change the spec, or name it in spec.rollout.rollbackTo to try it all the same.",
        ),
        (
            {},
            [BROKEN],
            "Revision new failed: no pod was ready within 600 s. There is no version that served before to fall back "
            "to: change the spec.",
        ),
        (
            {"rollbackTo": "gone"},
            [ONE],
            "spec.rollout.rollbackTo: status.versions has no revision gone; nothing is rolled back. Name one of "
            "these, or remove it.",
        ),
    ],
)
def test_problems_say_what_to_do(spec: dict[str, Any], known: list[Version], expected: str) -> None:
    problem = choose(RolloutSpec.model_validate(spec), "new", known).problem
    assert problem is not None
    assert problem.message == expected


@pytest.mark.parametrize(
    ("spec", "known", "stable", "retried"),
    [
        pytest.param({}, [ONE, NEW], "new", None, id="it has not failed"),
        pytest.param({}, [ONE, BROKEN], "one", "new", id="it failed to start"),
        pytest.param(CANARY, [ONE, BROKEN], "one", "new", id="it failed to start as a canary"),
        pytest.param({}, [ONE, REFUSED], "one", None, id="its calls failed"),
        pytest.param({}, [BROKEN], "new", None, id="there is no other: it goes on anyway"),
        pytest.param({"rollbackTo": "one"}, [ONE, BROKEN], "one", None, id="another is wanted by name"),
        pytest.param({"rollbackTo": "gone"}, [ONE, BROKEN], "one", "new", id="an unknown one is wanted by name"),
        pytest.param({}, [ONE, version("two", 2, failed="x"), NEW], "new", None, id="nobody wants it any more"),
    ],
)
def test_what_could_not_start_is_tried_beside_what_serves(
    spec: dict[str, Any], known: list[Version], stable: str, retried: str | None
) -> None:
    chosen = choose(RolloutSpec.model_validate(spec), "new", known)
    assert (chosen.stable, chosen.canary, chosen.retried) == (stable, None, retried)


versions = st.builds(
    version,
    st.sampled_from(["one", "two", "three", "new"]),
    st.integers(0, 9),
    proven=st.none() | st.integers(0, 9),
    failed=st.none() | st.just("x"),
    served=st.booleans(),
)
histories = st.lists(versions, max_size=4, unique_by=lambda item: item.revision)
specs = st.fixed_dictionaries(
    {},
    optional={
        "rollbackTo": st.sampled_from(["one", "two", "gone"]),
        "canary": st.fixed_dictionaries(
            {"weight": st.integers(1, 99)}, optional={"promote": st.sampled_from(["one", "new"])}
        ),
    },
).map(RolloutSpec.model_validate)


@given(specs, histories)
def test_what_runs_is_known_or_wanted_and_a_canary_is_always_the_wanted_one(
    spec: RolloutSpec, known: list[Version]
) -> None:
    chosen = choose(spec, "new", known)
    by_revision = {item.revision: item for item in known}
    assert chosen.stable in {"new", *by_revision}
    assert chosen.canary in {None, "new"}
    if chosen.canary:
        assert chosen.stable != "new"
        assert by_revision[chosen.stable].proven
        assert not by_revision[chosen.stable].failed
    if chosen.retried:
        assert (chosen.retried, chosen.canary) == ("new", None)
        assert by_revision[chosen.stable].proven
    if chosen.stable != "new" and chosen.stable != spec.rollback_to:
        assert by_revision[chosen.stable].failed is None


@pytest.mark.parametrize(
    ("item", "first_pod", "ready", "elapsed", "expected"),
    [
        pytest.param(NEW, 0, 0, 599.9, False, id="still has time"),
        pytest.param(NEW, 0, 0, 600, True, id="its time is over"),
        pytest.param(NEW, 0, 1, 6000, False, id="it serves"),
        pytest.param(NEW, None, 0, 6000, False, id="it has no pod: scaled to zero, or not yet begun"),
        pytest.param(TWO, 0, 0, 6000, False, id="it served once: its nodes are to blame"),
    ],
)
def test_failed_to_progress(item: Version, first_pod: int | None, ready: int, elapsed: float, expected: bool) -> None:
    first = None if first_pod is None else START
    now = START + timedelta(seconds=elapsed)
    assert failed_to_progress(item, first_pod=first, ready=ready, now=now, deadline_seconds=600) is expected


FIVE: Sequence[Version] = [version(f"v{number}", number) for number in range(5)]


@pytest.mark.parametrize(
    ("known", "keep", "limit", "expected"),
    [
        pytest.param([], set(), 1, [], id="nothing there"),
        pytest.param(FIVE, {"v4"}, 2, ["v0", "v1"], id="the oldest go"),
        pytest.param(FIVE, {"v4"}, 4, [], id="as many as may stay"),
        pytest.param(FIVE, {"v0", "v4"}, 1, ["v1", "v2"], id="what runs does not count"),
        pytest.param(FIVE, {"v4", "gone"}, 3, ["v0"], id="what is kept need not exist"),
        pytest.param([version("a", 1, proven=9), *FIVE[2:]], {"v4"}, 1, ["v2", "v3"], id="old, but it served lately"),
        pytest.param(
            [version("a", 1, proven=1), *(version(f"v{n}", n, failed="x") for n in range(2, 5))],
            {"v4"},
            1,
            ["v2"],
            id="what a failure falls back to stays",
        ),
    ],
)
def test_prune(known: list[Version], keep: set[str], limit: int, expected: list[str]) -> None:
    assert prune(known, keep, limit) == expected


@given(histories, st.sets(st.sampled_from(["one", "two", "three", "new"])), st.integers(1, 3), specs)
def test_pruning_takes_nothing_that_runs_and_changes_no_choice_but_a_pin(
    known: list[Version], keep: set[str], limit: int, spec: RolloutSpec
) -> None:
    keep = {*keep, "new"}
    gone = prune(known, keep, limit)
    left = [item for item in known if item.revision not in gone]
    assert not keep & set(gone)
    assert len([item for item in left if item.revision not in keep]) <= limit + 1
    if spec.rollback_to is None:
        before = choose(spec, "new", known)
        if "new" not in {item.revision for item in known if item.proven and not item.failed}:
            assert choose(spec, "new", left) == before
