"""A room gets the agent it needs once, and again when it was lost."""

from dataclasses import replace
from typing import Any

import pytest

from livekit_operator.api.meetingroom import DispatchPolicy
from livekit_operator.rooms.decisions.dispatching import (
    CONNECT_SECONDS,
    LONELY_SECONDS,
    MAX_PATIENCE_SECONDS,
    PATIENCE_SECONDS,
    PRESENCE_SECONDS,
    UNTAKEN_SECONDS,
    Decision,
    WantedAgent,
    decide_dispatch,
)
from livekit_operator.views import DispatchView, JobView, ParticipantView
from tests.unit.operator.rooms.decisions.dispatching_values import NAME, asked

ALICE = ParticipantView("alice")
AGENT = ParticipantView("agent-1", NAME, "listening")
SECOND = ParticipantView("agent-2", NAME)
UNLISTED = ParticipantView("agent-0", NAME)
OTHER = ParticipantView("agent-9", "somebody-else")
UNNAMED = ParticipantView("agent-8", "")
THEIRS = asked("theirs", 500.0, "job-9", name="somebody-else")
AUTOMATIC = asked("automatic", 500.0, name="")
FRESH, STALE = asked("fresh", 1.0), asked("stale", UNTAKEN_SECONDS)
TAKEN = asked("taken", 4.0, "job-1")
MISSED = asked("missed", PATIENCE_SECONDS, "job-1")
LIVE = asked("live", 100.0, "job-1")
JOINED = Decision("Joined", again=PRESENCE_SECONDS)
ASK = Decision("Dispatched", create=True, again=UNTAKEN_SECONDS, attempts=1)


def coming(again: float, *delete: str) -> Decision:
    return Decision("Dispatched", delete=delete, again=again, attempts=1)


def ask_again(*delete: str, remove: tuple[str, ...] = ()) -> Decision:
    return Decision("Dispatched", create=True, delete=delete, remove=remove, again=UNTAKEN_SECONDS, attempts=1)


def tidied(*delete: str, remove: tuple[str, ...] = ()) -> Decision:
    return Decision("Joined", delete=delete, remove=remove, again=PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("participants", "dispatches", "expected"),
    [
        pytest.param([], [], Decision("Waiting"), id="nobody there"),
        pytest.param([OTHER], [], Decision("Waiting"), id="only another agent there"),
        pytest.param([ALICE], [], ASK, id="somebody came"),
        pytest.param([ALICE, OTHER], [THEIRS], ASK, id="another pool's agent is no help"),
        pytest.param([ALICE, UNNAMED], [AUTOMATIC], ASK, id="nor is one that LiveKit asks for by itself"),
        pytest.param([ALICE, AGENT], [LIVE], JOINED, id="agent there"),
        pytest.param([ALICE, AGENT], [LIVE, THEIRS, AUTOMATIC], JOINED, id="agent there, others' requests stay"),
        pytest.param([ALICE], [FRESH], coming(2.0), id="just asked"),
        pytest.param([ALICE], [TAKEN], coming(8.0), id="agent on the way"),
        pytest.param([ALICE], [STALE], ask_again("stale"), id="nobody took it"),
        pytest.param([ALICE], [MISSED], ask_again("missed"), id="taken, and nobody came"),
        pytest.param([ALICE], [LIVE], ask_again("live"), id="agent left"),
        pytest.param([ALICE], [STALE, TAKEN], coming(8.0, "stale"), id="asked anew already"),
        pytest.param([ALICE], [FRESH, TAKEN], coming(8.0, "fresh"), id="twice: the one that somebody took"),
        pytest.param([ALICE], [STALE, FRESH], coming(2.0, "stale"), id="twice: the younger one"),
        pytest.param(
            [],
            [LIVE, FRESH, THEIRS, AUTOMATIC],
            Decision("Waiting", delete=("live", "fresh")),
            id="all left: requests are taken back",
        ),
        pytest.param([ALICE], [asked("d", 4.0, deployment="canary-1")], ask_again("d"), id="no canary took it"),
        pytest.param(
            [ALICE], [asked("d", 4.0, "job-1", deployment="canary-1")], coming(8.0), id="the canary is on the way"
        ),
        pytest.param(
            [ALICE, AGENT], [asked("d", 400.0, "job-1", deployment="canary-1")], JOINED, id="the canary is there"
        ),
        pytest.param(
            [ALICE],
            [DispatchView("refused", NAME, 4.0, jobs=(JobView("job-1", ""),))],
            ask_again("refused"),
            id="refused for good: nobody comes",
        ),
    ],
)
def test_who_waits_for_people(
    participants: list[ParticipantView], dispatches: list[DispatchView], expected: Decision
) -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=True)
    assert decide_dispatch(wanted, participants, dispatches) == expected


@pytest.mark.parametrize(
    ("participants", "dispatches", "expected"),
    [
        pytest.param([], [], ASK, id="at once"),
        pytest.param([AGENT], [LIVE], JOINED, id="it waits there"),
        pytest.param([], [FRESH], coming(2.0), id="on the way"),
        pytest.param([], [LIVE], ask_again("live"), id="it left"),
    ],
)
def test_who_comes_on_creation(
    participants: list[ParticipantView], dispatches: list[DispatchView], expected: Decision
) -> None:
    wanted = WantedAgent(NAME, "OnCreate", available=True)
    assert decide_dispatch(wanted, participants, dispatches, lonely_seconds=1000.0) == expected


@pytest.mark.parametrize(
    ("participants", "dispatches", "expected"),
    [
        pytest.param([ALICE], [], Decision("Waiting"), id="nobody asked for it"),
        pytest.param([ALICE], [FRESH, STALE], Decision("Waiting"), id="an app's requests stay"),
        pytest.param([], [LIVE], Decision("Waiting"), id="even when nobody is there"),
        pytest.param([ALICE, AGENT], [LIVE], JOINED, id="an app's agent"),
        pytest.param([AGENT, SECOND, UNLISTED], [LIVE, STALE], JOINED, id="as many as it wants, for as long"),
    ],
)
@pytest.mark.parametrize("available", [True, False])
@pytest.mark.parametrize("lost", [frozenset[str](), frozenset({"job-9"})])
def test_who_is_called_by_others_alone(
    participants: list[ParticipantView],
    dispatches: list[DispatchView],
    expected: Decision,
    available: bool,
    lost: frozenset[str],
) -> None:
    wanted = WantedAgent(NAME, "Never", available)
    assert decide_dispatch(wanted, participants, dispatches, lonely_seconds=1000.0, lost=lost) == expected


def test_whose_worker_died_is_not_there_and_is_left_to_those_who_called_it() -> None:
    decided = decide_dispatch(WantedAgent(NAME, "Never", available=True), [ALICE, AGENT], [LIVE], lost=LOST)
    assert decided == Decision("Waiting")


@pytest.mark.parametrize(
    ("policy", "participants", "dispatches", "expected"),
    [
        pytest.param("OnFirstParticipant", [ALICE], [], Decision("Unavailable"), id="no agent to ask"),
        pytest.param("OnFirstParticipant", [ALICE], [LIVE], Decision("Unavailable", delete=("live",)), id="none left"),
        pytest.param("OnFirstParticipant", [ALICE], [TAKEN], coming(8.0), id="the last one is on the way"),
        pytest.param("OnFirstParticipant", [ALICE, AGENT], [LIVE], JOINED, id="the last one is there"),
        pytest.param("OnFirstParticipant", [], [], Decision("Waiting"), id="nobody needs one"),
        pytest.param("OnCreate", [], [], Decision("Unavailable"), id="on creation"),
    ],
)
def test_without_a_free_agent(
    policy: DispatchPolicy, participants: list[ParticipantView], dispatches: list[DispatchView], expected: Decision
) -> None:
    assert decide_dispatch(WantedAgent(NAME, policy, available=False), participants, dispatches) == expected


JOINING = ParticipantView("agent-1", NAME, connected=False, age=1.0)
STUCK = ParticipantView("agent-1", NAME, connected=False, age=CONNECT_SECONDS)


def in_vain(**decided: Any) -> Decision:
    return Decision(**{"state": "Dispatched", "unconnected": True, **decided})


@pytest.mark.parametrize(
    ("policy", "participants", "dispatches", "attempts", "expected"),
    [
        pytest.param("OnFirstParticipant", [ALICE, JOINING], [TAKEN], 1, coming(2.0), id="it connects"),
        pytest.param("OnFirstParticipant", [ALICE, JOINING], [MISSED], 1, coming(2.0), id="it was slow to come"),
        pytest.param("OnFirstParticipant", [ALICE, JOINING], [], 0, coming(2.0), id="it has no job in a list"),
        pytest.param(
            "OnFirstParticipant",
            [JOINING],
            [TAKEN],
            1,
            Decision("Waiting", delete=("taken",), remove=("agent-1",)),
            id="nobody waits for it any more",
        ),
        pytest.param(
            "OnFirstParticipant",
            [ALICE, STUCK],
            [asked("d", 11.0, "job-1")],
            1,
            in_vain(again=1.0, attempts=1),
            id="it does not come to be connected, and its time is not over",
        ),
        pytest.param(
            "OnFirstParticipant",
            [ALICE, STUCK],
            [MISSED],
            1,
            in_vain(create=True, delete=("missed",), remove=("agent-1",), again=2 * UNTAKEN_SECONDS, attempts=2),
            id="its time is over: the next one is tried",
        ),
        pytest.param(
            "OnFirstParticipant",
            [ALICE, STUCK],
            [MISSED],
            2,
            in_vain(again=PATIENCE_SECONDS, attempts=2),
            id="after a longer pause",
        ),
        pytest.param(
            "OnFirstParticipant",
            [ALICE, AGENT, replace(JOINING, identity="agent-2")],
            [LIVE],
            0,
            JOINED,
            id="one too many",
        ),
        pytest.param("OnCreate", [JOINING], [TAKEN], 1, coming(2.0), id="before anybody is there"),
        pytest.param("Never", [ALICE, JOINING], [TAKEN], 0, Decision("Waiting", again=2.0), id="an app's, on its way"),
        pytest.param("Never", [ALICE, STUCK], [TAKEN], 0, in_vain(state="Waiting", again=2.0), id="an app's, in vain"),
    ],
)
def test_an_agent_that_joins_and_is_not_connected(
    policy: DispatchPolicy,
    participants: list[ParticipantView],
    dispatches: list[DispatchView],
    attempts: int,
    expected: Decision,
) -> None:
    wanted = WantedAgent(NAME, policy, available=True)
    assert decide_dispatch(wanted, participants, dispatches, attempts=attempts) == expected


def test_an_agent_that_was_not_connected_gives_its_place_back_where_there_is_no_other() -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=False)
    decided = decide_dispatch(wanted, [ALICE, STUCK], [MISSED], attempts=1)
    assert decided == in_vain(state="Unavailable", delete=("missed",), remove=("agent-1",))


LOST = frozenset({"job-1"})
DEAD = ("agent-1",)


@pytest.mark.parametrize(
    ("participants", "dispatches", "expected"),
    [
        pytest.param([ALICE, AGENT], [LIVE], ask_again("live", remove=DEAD), id="still listed: taken out, and anew"),
        pytest.param([ALICE], [LIVE], ask_again("live"), id="gone already"),
        pytest.param([ALICE], [TAKEN], ask_again("taken"), id="died on the way"),
        pytest.param([ALICE], [asked("d", 1.0, "job-1")], ask_again("d"), id="died at once"),
        pytest.param(
            [AGENT], [LIVE], Decision("Waiting", delete=("live",), remove=DEAD), id="nobody there who would miss it"
        ),
        pytest.param(
            [ALICE, AGENT, SECOND],
            [LIVE, asked("next", 5.0, "job-2")],
            tidied("live", remove=DEAD),
            id="the next one is there already",
        ),
        pytest.param(
            [ALICE, AGENT],
            [LIVE, asked("next", 2.0, "job-2")],
            Decision("Dispatched", delete=("live",), remove=DEAD, again=10.0, attempts=1),
            id="the next one is on the way",
        ),
    ],
)
def test_an_agent_whose_worker_died(
    participants: list[ParticipantView], dispatches: list[DispatchView], expected: Decision
) -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=True)
    assert decide_dispatch(wanted, participants, dispatches, lost=LOST) == expected


def test_a_call_that_kills_every_worker_does_not_get_the_next_one_at_once() -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=True)
    first = decide_dispatch(wanted, [ALICE], [asked("d", 1.0, "job-1")], lost=LOST, attempts=1)
    assert (first.create, first.attempts) == (True, 2)
    then = decide_dispatch(wanted, [ALICE], [asked("d", 1.0, "job-1")], lost=LOST, attempts=first.attempts)
    assert then == Decision("Dispatched", again=5.0, attempts=2)


def test_a_dead_agent_is_known_by_its_job_when_its_dispatch_is_gone() -> None:
    """An agent's identity is `agent-` and its job, unless its code says otherwise."""
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=True)
    dead = ParticipantView("agent-AJ_x", NAME)
    decided = decide_dispatch(wanted, [ALICE, dead], [], lost=frozenset({"AJ_x"}))
    assert decided == ask_again(remove=("agent-AJ_x",))


def test_an_agent_that_always_has_the_same_identity_is_not_taken_for_its_dead_predecessor() -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=True)
    requests = [
        DispatchView("former", NAME, 60.0, jobs=(JobView("job-1", "anna"),)),
        DispatchView("next", NAME, 5.0, jobs=(JobView("job-2", "anna"),)),
    ]
    decided = decide_dispatch(wanted, [ALICE, ParticipantView("anna", NAME)], requests, lost=LOST)
    assert decided == tidied("former")


@pytest.mark.parametrize(
    ("participants", "dispatches", "expected"),
    [
        pytest.param([AGENT], [LIVE, STALE], tidied("stale"), id="the empty twin of a living one goes alone"),
        pytest.param([AGENT], [FRESH, LIVE], tidied("fresh"), id="however young"),
        pytest.param(
            [AGENT, SECOND], [LIVE, asked("next", 2.0, "job-2")], tidied("next"), id="two agents: the older one stays"
        ),
        pytest.param([AGENT, UNLISTED], [LIVE], tidied(remove=("agent-0",)), id="one too many that is not listed"),
        pytest.param([UNLISTED], [], tidied(), id="one that is not listed is there all the same"),
        pytest.param([UNLISTED], [FRESH, STALE], tidied(), id="a request may be its own"),
        pytest.param(
            [UNLISTED, ParticipantView("agent-00", NAME)],
            [],
            tidied(remove=("agent-00",)),
            id="two that are not listed",
        ),
        pytest.param(
            [AGENT, SECOND],
            [asked("both", 50.0, "job-1", "job-2")],
            JOINED,
            id="one request for each publisher: its agents belong together",
        ),
    ],
)
def test_one_agent_is_enough(
    participants: list[ParticipantView], dispatches: list[DispatchView], expected: Decision
) -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=True)
    assert decide_dispatch(wanted, [ALICE, *participants], dispatches) == expected
    assert decide_dispatch(wanted, [ALICE, *participants], dispatches[::-1]) == expected


@pytest.mark.parametrize(
    ("lonely", "expected"),
    [
        (LONELY_SECONDS - 1, Decision("Joined", again=LONELY_SECONDS)),
        (LONELY_SECONDS, Decision("Joined", delete=("live",), again=LONELY_SECONDS)),
    ],
)
def test_an_agent_whose_people_left_long_ago_is_sent_away(lonely: float, expected: Decision) -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=True)
    assert decide_dispatch(wanted, [AGENT], [LIVE, THEIRS], lonely_seconds=lonely) == expected


def test_so_is_one_that_no_request_would_call_back() -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available=True)
    decided = decide_dispatch(wanted, [UNLISTED], [], lonely_seconds=LONELY_SECONDS)
    assert decided.remove == ("agent-0",)


@pytest.mark.parametrize(
    ("attempts", "untaken", "taken"),
    [(0, 3, 12), (1, 3, 12), (2, 6, 24), (3, 12, 48), (4, 12, 60), (5, 12, 60), (1000, 12, 60)],
)
def test_each_attempt_in_vain_doubles_the_patience(attempts: int, untaken: float, taken: float) -> None:
    wanted = WantedAgent(NAME, "OnCreate", available=True)
    for jobs, patience in ((), untaken), (("job-1",), taken):
        before = decide_dispatch(wanted, [], [asked("d", patience - 0.5, *jobs)], attempts=attempts)
        assert before == Decision("Dispatched", again=0.5, attempts=max(1, attempts))
        after = decide_dispatch(wanted, [], [asked("d", patience, *jobs)], attempts=attempts)
        assert (after.create, after.delete, after.attempts) == (True, ("d",), attempts + 1)
        assert after.again is not None
        assert after.again <= MAX_PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("participants", "available"),
    [
        pytest.param([ALICE, AGENT], True, id="joined"),
        pytest.param([], True, id="nobody waits any more"),
        pytest.param([ALICE], False, id="nobody to ask: who comes next is not to blame"),
    ],
)
def test_attempts_are_counted_anew(participants: list[ParticipantView], available: bool) -> None:
    wanted = WantedAgent(NAME, "OnFirstParticipant", available)
    assert decide_dispatch(wanted, participants, [LIVE], attempts=5).attempts == 0


def test_the_canary_is_asked_by_its_deployment() -> None:
    wanted = WantedAgent(NAME, "OnCreate", available=True, deployment="canary-1")
    assert decide_dispatch(wanted, [], []).deployment == "canary-1"


def test_of_a_pool_that_does_not_exist_nothing_is_touched() -> None:
    wanted = WantedAgent("", "OnFirstParticipant", available=False)
    assert decide_dispatch(wanted, [ALICE, UNNAMED], [AUTOMATIC]) == Decision("Unavailable")
