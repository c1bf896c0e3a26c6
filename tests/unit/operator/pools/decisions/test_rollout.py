"""Pods come and go without a call being cut, and always come to the number and version that are wanted."""

from datetime import UTC, datetime, timedelta

import pytest

from livekit_operator.pools.decisions.rollout import CANARY, MAX_CREATED, STABLE, Brake, Plan, PodView, Target, plan
from livekit_operator.reconciling.decisions.brakes import PodHistory
from tests.unit.operator.pools.decisions.rollout_values import canary, pod, stable, starting

QUARTER = "25%"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


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


def test_while_the_brake_holds_pods_that_ended_stay_to_be_seen() -> None:
    history = PodHistory()
    for number in range(3):
        history.fail(f"uid-{number}", "evicted", NOW)
    targets, ended = [Target(stable(1).version, 1, STABLE)], [pod("a", ready=False, finished=True)]
    held = plan(ended, targets, max_surge=1, brake=Brake(history, NOW))
    assert (held.create, held.delete) == ((), ())
    assert held.held is not None
    later = plan(ended, targets, max_surge=1, brake=Brake(history, NOW + timedelta(minutes=5)))
    assert later == create(1, "a")
