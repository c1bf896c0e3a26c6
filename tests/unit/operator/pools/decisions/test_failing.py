"""When a pool's agents fail: so many calls in a row, whoever made them, until one lasts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from livekit_operator.pools.decisions.failing import FAILING_AFTER, count_failing
from livekit_operator.views import EndedCall, EndedJob, WorkerJob

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ended(ago: float, error: str = "LookupError: no.", **facts: Any) -> EndedCall:
    """Return a call that ended so many seconds ago, by a failure unless there is no error."""
    room, pod = facts.pop("room", "lobby"), facts.pop("pod", "front-desk-1")
    return EndedCall(EndedJob(f"AJ_{ago}", room, bool(error), error, **facts), NOW - timedelta(seconds=ago), pod)


def running(seconds: float) -> WorkerJob:
    return WorkerJob("AJ_0", "other", NOW - timedelta(seconds=seconds))


THREE = [ended(30), ended(20), ended(10)]


@pytest.mark.parametrize(
    ("calls", "jobs", "number"),
    [
        pytest.param([], [], 0, id="nobody has called"),
        pytest.param(THREE[1:], [], 0, id="two may be chance"),
        pytest.param(THREE, [], 3, id="three are none"),
        pytest.param([*THREE, ended(15, "")], [], 0, id="one of them ended well"),
        pytest.param([*THREE, ended(40, "")], [], 3, id="one ended well before"),
        pytest.param([*THREE, ended(5, cut=True)], [], 3, id="one was cut off, which says nothing"),
        pytest.param([ended(3, cut=True), ended(2, cut=True), ended(1, cut=True)], [], 0, id="a server has restarted"),
        pytest.param([*THREE, ended(5, cut=True, seconds=90)], [], 0, id="one was cut off after it had lasted"),
        pytest.param([*THREE, ended(5, seconds=90)], [], 0, id="the last one had lasted: the first of another row"),
        pytest.param([ended(90, seconds=90), *THREE[1:]], [], 3, id="and it counts"),
        pytest.param([ended(800), ended(700), ended(600)], [], 3, id="rooms call again within two minutes"),
        pytest.param([ended(800), ended(700), ended(601)], [], 0, id="nobody has called for long"),
        pytest.param(THREE, [running(59)], 3, id="one may fail yet"),
        pytest.param(THREE, [running(61)], 0, id="one has lasted since"),
        pytest.param(THREE, [running(80)], 0, id="one has lasted between them"),
        pytest.param(THREE, [running(600)], 3, id="one had lasted before they began to fail"),
        pytest.param(THREE, [WorkerJob("AJ_0", "other")], 3, id="one that does not say since when it is there"),
    ],
)
def test_how_many_failed_in_a_row(calls: list[EndedCall], jobs: list[WorkerJob], number: int) -> None:
    for order in (calls, calls[::-1]):
        failing = count_failing(order, jobs, NOW)
        assert (failing.number if failing else 0) == number


def test_what_is_told_of_them() -> None:
    last = ended(1, "ValueError: the last.", room="other", pod="front-desk-2")
    failing = count_failing([*THREE, last], [], NOW)
    assert failing is not None
    assert failing.words == (
        "The last 4 calls failed before one had lasted 60 s, in 2 rooms, the last one on pod front-desk-2: "
        "ValueError: the last"
    )
    assert FAILING_AFTER == 3
