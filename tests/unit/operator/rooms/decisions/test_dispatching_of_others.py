"""An agent that others ask for may wait for people; when those have left with whom it was, its job ends."""

import pytest

from livekit_operator.rooms.decisions.dispatching import (
    LONELY_SECONDS,
    PRESENCE_SECONDS,
    Decision,
    WantedAgent,
    decide_dispatch,
)
from livekit_operator.views import ParticipantView
from tests.unit.operator.rooms.decisions.dispatching_values import NAME, asked

ALICE = ParticipantView("alice")
AGENT, UNLISTED = ParticipantView("agent-1", NAME, "listening"), ParticipantView("agent-0", NAME)
CALL = asked("call", 100.0, "job-1")
JOINED = Decision("Joined", again=PRESENCE_SECONDS)


@pytest.mark.parametrize(
    ("participants", "met", "lonely", "expected"),
    [
        pytest.param([ALICE, AGENT], True, 0.0, JOINED, id="they talk"),
        pytest.param([AGENT], False, 1000.0, JOINED, id="it waits for people"),
        pytest.param([AGENT], True, 1.0, Decision("Joined", again=LONELY_SECONDS), id="they may come back"),
        pytest.param(
            [AGENT],
            True,
            LONELY_SECONDS,
            Decision("Joined", delete=("call",), again=LONELY_SECONDS),
            id="they have left",
        ),
        pytest.param(
            [AGENT, UNLISTED],
            True,
            LONELY_SECONDS,
            Decision("Joined", delete=("call",), remove=("agent-0",), again=LONELY_SECONDS),
            id="one has no job that could end",
        ),
        pytest.param([], True, LONELY_SECONDS, Decision("Waiting"), id="it has left as well"),
    ],
)
def test_who_is_called_by_others_ends_with_its_call(
    participants: list[ParticipantView], met: bool, lonely: float, expected: Decision
) -> None:
    wanted = WantedAgent(NAME, "Never", available=True, met=met)
    assert decide_dispatch(wanted, participants, [CALL], lonely_seconds=lonely) == expected
