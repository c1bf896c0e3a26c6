"""Workers that take a job for each who publishes: one dispatch waits for all of them, and raises no alarm."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from livekit_operator.rooms.decisions.agents import decide_agents
from livekit_operator.rooms.decisions.dispatching import (
    PATIENCE_SECONDS,
    PRESENCE_SECONDS,
    UNTAKEN_SECONDS,
    Decision,
    WantedAgent,
    decide_dispatch,
)
from livekit_operator.rooms.decisions.scene import PoolFacts, Reported, Scene
from livekit_operator.views import ParticipantView
from tests.unit.operator.rooms.decisions.dispatching_values import NAME, asked

QUIET, SPEAKING = ParticipantView("alice"), ParticipantView("bob", publishes=True)
FIRST, SECOND = ParticipantView("agent-1", NAME), ParticipantView("agent-2", NAME)
OPEN = asked("open", 500.0)
SERVED = asked("served", 500.0, "job-1")
WAITING = Decision("Waiting", again=PRESENCE_SECONDS)
START = datetime(2026, 1, 1, tzinfo=UTC)


def wanted(unserved: float = 0.0, **fields: Any) -> WantedAgent:
    return replace(WantedAgent(NAME, "OnFirstParticipant", available=True, unserved_seconds=unserved), **fields)


@pytest.mark.parametrize(
    ("participants", "dispatches", "expected"),
    [
        pytest.param([QUIET], [], replace(WAITING, create=True), id="somebody came: asked once"),
        pytest.param([QUIET], [OPEN], WAITING, id="nobody publishes for minutes"),
        pytest.param([QUIET], [asked("a", 5.0), OPEN], replace(WAITING, delete=("open",)), id="one is enough"),
        pytest.param([QUIET], [SERVED], WAITING, id="who published has left, and the agent"),
        pytest.param([], [OPEN], Decision("Waiting", delete=("open",)), id="all have left"),
        pytest.param([QUIET, SPEAKING, FIRST], [SERVED], Decision("Joined", again=PRESENCE_SECONDS), id="one has one"),
        pytest.param(
            [QUIET, SPEAKING, FIRST, SECOND],
            [SERVED],
            Decision("Joined", again=PRESENCE_SECONDS),
            id="the second one's is not listed yet",
        ),
        pytest.param(
            [SPEAKING, FIRST, SECOND], [OPEN], Decision("Joined", again=PATIENCE_SECONDS), id="none is listed yet"
        ),
    ],
)
def test_a_dispatch_waits_for_those_who_publish(participants: Any, dispatches: Any, expected: Decision) -> None:
    assert decide_dispatch(wanted(), participants, dispatches) == expected


@pytest.mark.parametrize(
    ("unserved", "known", "state", "create"),
    [
        pytest.param(0.0, {}, "Dispatched", False, id="LiveKit has just asked for one"),
        pytest.param(UNTAKEN_SECONDS, {}, "Dispatched", True, id="no worker took it"),
        pytest.param(UNTAKEN_SECONDS, {"available": False}, "Unavailable", False, id="and there is no place"),
        pytest.param(UNTAKEN_SECONDS, {"taken": {"open"}}, "Dispatched", False, id="a worker works before it joins"),
    ],
)
def test_who_publishes_is_waited_for_as_long_as_anybody(unserved: float, known: Any, state: str, create: bool) -> None:
    taken = frozenset(known.pop("taken", ()))
    decision = decide_dispatch(wanted(unserved, **known), [SPEAKING], [OPEN], taken=taken, attempts=1)
    assert (decision.state, decision.create) == (state, create)
    assert decision.delete == (() if taken or unserved == 0.0 else ("open",))


def test_a_call_of_a_former_one_says_nothing_of_the_next_ones() -> None:
    decision = decide_dispatch(wanted(), [SPEAKING], [SERVED], ended=frozenset({"job-1"}))
    assert (decision.state, decision.create, decision.delete) == ("Dispatched", False, ())
    lost = decide_dispatch(wanted(), [SPEAKING], [SERVED], lost=frozenset({"job-1"}))
    assert (lost.create, lost.delete) == (True, ("served",)), "its worker died with the call"


def test_an_agent_that_left_on_purpose_takes_nobody_elses_with_it() -> None:
    decision = decide_dispatch(wanted(left_seconds=30.0, asked_for=frozenset({"bob"})), [SPEAKING], [SERVED])
    assert decision == Decision("Finished"), "the dispatch stays for whoever publishes next"


def test_a_room_in_which_nobody_speaks_for_an_hour_and_then_somebody_does() -> None:
    pool = PoolFacts("desk", NAME, "OnFirstParticipant", place=True, publishers=True)
    scene = Scene("lobby", [pool], START, need="Known", participants=[QUIET])
    requests = 0
    for minute in range(0, 61, 5):
        now = START + timedelta(minutes=minute)
        (agent,) = decide_agents(replace(scene, now=now)).agents
        requests += agent.decision.create
        assert (agent.decision.state, agent.problem) == ("Waiting", None)
        told = {"desk": Reported(NAME, agent.decision.state)}
        open_now = [asked("open", 60.0 * minute)]
        scene = replace(scene, asked={NAME: agent.asked}, before=told, dispatches=open_now)
    assert requests == 1
    (agent,) = decide_agents(replace(scene, now=now, participants=[SPEAKING])).agents
    assert (agent.decision.state, agent.decision.create, agent.problem) == ("Dispatched", False, None)
    scene = replace(scene, asked={NAME: agent.asked}, participants=[SPEAKING])
    (agent,) = decide_agents(replace(scene, now=now + timedelta(seconds=3))).agents
    assert agent.decision.create, "no worker took LiveKit's own request"
