"""Whether a worker was told to leave and does not."""

from datetime import timedelta

import pytest

from livekit_operator.pools.decisions.leaving import PATIENCE, has_not_heard, takes_calls
from livekit_operator.views import WorkerStatus

DRAINS, SERVES = WorkerStatus(True, 2, draining=True), WorkerStatus(True, 2)
LONG, SHORT = PATIENCE, PATIENCE - timedelta(seconds=1)


def plain(sessions: int) -> WorkerStatus:
    """Return what a worker without the runner says."""
    return WorkerStatus(None, sessions)


@pytest.mark.parametrize(
    ("worker", "leaving", "took", "unheard"),
    [
        (None, LONG, True, False),
        (SERVES, SHORT, False, False),
        (SERVES, LONG, False, True),
        (WorkerStatus(False, 0), LONG, False, True),
        (DRAINS, LONG, False, False),
        (DRAINS, LONG, True, False),
        (plain(0), SHORT, False, False),
        (plain(0), LONG, False, True),
        (plain(2), LONG, False, False),
        (plain(2), LONG, True, True),
        (SERVES, timedelta(seconds=-5), False, False),
    ],
)
def test_who_has_not_heard(worker: WorkerStatus | None, leaving: timedelta, took: bool, unheard: bool) -> None:
    assert has_not_heard(worker, leaving, took=took) is unheard


@pytest.mark.parametrize(("idle_for", "unheard"), [(None, True), (timedelta(), False), (SHORT, False), (LONG, True)])
def test_one_whose_last_call_has_just_ended_may_be_about_to_leave(idle_for: timedelta | None, unheard: bool) -> None:
    assert has_not_heard(plain(0), 2 * LONG, took=False, idle_for=idle_for) is unheard
    assert has_not_heard(SERVES, 2 * LONG, took=False, idle_for=idle_for), "one with the runner says that it drains"


@pytest.mark.parametrize(
    ("before", "now", "leaving", "took"),
    [
        (plain(1), plain(2), LONG, True),
        (plain(1), plain(2), SHORT, False),  # accepted before it was told
        (plain(2), plain(2), LONG, False),
        (plain(2), plain(1), LONG, False),
        (None, plain(2), LONG, False),
        (plain(1), None, LONG, False),
    ],
)
def test_who_takes_calls(before: WorkerStatus | None, now: WorkerStatus | None, leaving: timedelta, took: bool) -> None:
    assert takes_calls(before, now, leaving) is took
