"""One job for one call: who has taken a request is what its worker says, however late LiveKit lists it."""

import pytest

from livekit_operator.rooms.decisions.dispatching import (
    HELD_SECONDS,
    PATIENCE_SECONDS,
    UNTAKEN_SECONDS,
    Decision,
    WantedAgent,
    decide_dispatch,
)
from livekit_operator.views import DispatchView, ParticipantView
from tests.unit.operator.rooms.decisions.dispatching_values import NAME, asked

ALICE = ParticipantView("alice")
AGAIN = Decision("Dispatched", create=True, delete=("d",), again=UNTAKEN_SECONDS * 2, attempts=2)


def coming(again: float, *, overdue: bool = False) -> Decision:
    return Decision("Dispatched", again=again, attempts=1, overdue=overdue)


@pytest.mark.parametrize(
    ("dispatch", "taken", "expected"),
    [
        pytest.param(asked("d", 4.0), ["d"], coming(PATIENCE_SECONDS - 4.0), id="its agent works before it joins"),
        pytest.param(asked("d", 4.0), [], AGAIN, id="nobody took it"),
        pytest.param(asked("d", 4.0), ["other"], AGAIN, id="another one was taken"),
        pytest.param(
            asked("d", 20.0, "job-1"), ["d"], coming(HELD_SECONDS - 20.0, overdue=True), id="listed, and still at work"
        ),
        pytest.param(asked("d", HELD_SECONDS, "job-1"), ["d"], AGAIN, id="it comes to nothing"),
    ],
)
def test_a_request_that_a_worker_holds_is_not_made_again(
    dispatch: DispatchView, taken: list[str], expected: Decision
) -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=True)
    assert decide_dispatch(wanted, [ALICE], [dispatch], taken=frozenset(taken), attempts=1) == expected


def test_one_whose_agent_has_left_is_over_while_its_job_still_ends() -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=True)
    decided = decide_dispatch(wanted, [ALICE], [asked("d", 40.0, "job-1")], taken=frozenset({"d"}), attempts=0)
    assert decided.create


def test_one_that_another_worker_took_after_the_first_died_is_waited_for() -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=True)
    lost, taken = frozenset({"job-1"}), frozenset({"d"})
    decided = decide_dispatch(wanted, [ALICE], [asked("d", 5.0, "job-1")], lost=lost, taken=taken, attempts=1)
    assert decided == coming(PATIENCE_SECONDS - 5.0)


@pytest.mark.parametrize(
    ("age", "looked", "expected"),
    [
        pytest.param(4.0, 5.0, coming(1.0), id="made after the last look: nobody knows yet"),
        pytest.param(4.0, 1.0, AGAIN, id="made before it: nobody has it"),
        pytest.param(1.0, 5.0, coming(UNTAKEN_SECONDS - 1.0), id="young anyway"),
        pytest.param(PATIENCE_SECONDS, 60.0, AGAIN, id="nobody looks any more"),
    ],
)
def test_a_request_is_not_made_again_before_workers_were_asked_for_it(
    age: float, looked: float, expected: Decision
) -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=True, looked_seconds=looked)
    assert decide_dispatch(wanted, [ALICE], [asked("d", age)], attempts=1) == expected
