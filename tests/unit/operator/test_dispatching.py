"""A room gets the agent it needs once, and again when it was lost."""

import pytest

from livekit_operator.dispatching import PATIENCE_SECONDS, PRESENCE_SECONDS, Decision, WantedAgent, decide_dispatch
from livekit_operator.views import DispatchView, ParticipantView

ALICE = ParticipantView("alice")
AGENT = ParticipantView("agent-1", "front-desk")
OTHER = ParticipantView("agent-2", "somebody-else")
YOUNG = DispatchView("young", "front-desk", 2.0)
OLD = DispatchView("old", "front-desk", PATIENCE_SECONDS)
THEIRS = DispatchView("theirs", "somebody-else", 500.0)

JOINED = Decision("Joined", again=PRESENCE_SECONDS)
ASK = Decision("Dispatched", create=True, again=PATIENCE_SECONDS)
ASK_AGAIN = Decision("Dispatched", create=True, delete=("old",), again=PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("policy", "available", "participants", "dispatches", "expected"),
    [
        pytest.param("OnFirstParticipant", True, [], [], Decision("Waiting"), id="nobody there"),
        pytest.param("OnFirstParticipant", True, [OTHER], [], Decision("Waiting"), id="only another agent there"),
        pytest.param("OnFirstParticipant", True, [ALICE], [], ASK, id="somebody came"),
        pytest.param("OnFirstParticipant", True, [ALICE, OTHER], [THEIRS], ASK, id="another pool's agent is no help"),
        pytest.param("OnFirstParticipant", True, [ALICE, AGENT], [OLD], JOINED, id="agent there"),
        pytest.param(
            "OnFirstParticipant", True, [ALICE], [YOUNG], Decision("Dispatched", again=10.0), id="agent on the way"
        ),
        pytest.param("OnFirstParticipant", True, [ALICE], [OLD], ASK_AGAIN, id="agent lost"),
        pytest.param(
            "OnFirstParticipant",
            True,
            [ALICE],
            [OLD, YOUNG],
            Decision("Dispatched", delete=("old",), again=10.0),
            id="asked anew already",
        ),
        pytest.param(
            "OnFirstParticipant",
            True,
            [],
            [OLD, YOUNG, THEIRS],
            Decision("Waiting", delete=("old", "young")),
            id="all left: requests are taken back",
        ),
        pytest.param("OnFirstParticipant", False, [ALICE], [], Decision("Unavailable"), id="no agent to ask"),
        pytest.param(
            "OnFirstParticipant", False, [ALICE], [OLD], Decision("Unavailable", delete=("old",)), id="no agent left"
        ),
        pytest.param("OnFirstParticipant", False, [], [], Decision("Waiting"), id="no agent, but nobody needs one"),
        pytest.param("OnCreate", True, [], [], ASK, id="on create: at once"),
        pytest.param("OnCreate", True, [AGENT], [OLD], JOINED, id="on create: it waits there"),
        pytest.param("OnCreate", True, [], [YOUNG], Decision("Dispatched", again=10.0), id="on create: on the way"),
        pytest.param("OnCreate", False, [], [], Decision("Unavailable"), id="on create: no agent"),
    ],
)
def test_decide_dispatch(
    policy: str,
    available: bool,
    participants: list[ParticipantView],
    dispatches: list[DispatchView],
    expected: Decision,
) -> None:
    wanted = WantedAgent("front-desk", policy, available)  # type: ignore[arg-type]  # a literal, given by the table
    assert decide_dispatch(wanted, participants, dispatches) == expected


def test_the_next_look_is_when_the_youngest_request_is_old() -> None:
    wanted = WantedAgent("front-desk", "OnCreate", available=True)
    requests = [DispatchView("a", "front-desk", 3.0), DispatchView("b", "front-desk", 7.0)]
    assert decide_dispatch(wanted, [], requests).again == PATIENCE_SECONDS - 3.0
