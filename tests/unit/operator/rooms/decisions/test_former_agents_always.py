"""An agent that is always to be there and leaves at once is not called in circles."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.pools.decisions.failing import LASTED_SECONDS
from livekit_operator.rooms.decisions.agents import AgentPlan, decide_agents
from livekit_operator.rooms.decisions.asked import MOST_FAILING_SECONDS, AskedAgent
from livekit_operator.rooms.decisions.scene import PoolFacts, Reported, Scene
from livekit_operator.views import DispatchView, EndedCall, EndedJob, JobView, ParticipantView

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "agent"
CALLER = ParticipantView("caller", age=100.0)


def call(number: int, age: float = 3.0) -> DispatchView:
    return DispatchView(f"AD_{number}", NAME, age, jobs=(JobView(f"AJ_{number}", f"agent-AJ_{number}"),))


def ended(number: int, error: str = "", *, lasted: int | None = 2, pod: str = "front-desk-1") -> EndedCall:
    return EndedCall(EndedJob(f"AJ_{number}", "lobby", bool(error), error, f"AD_{number}", seconds=lasted), NOW, pod)


def passed(asked: AskedAgent, seconds: float = 0.0, before: str = "Joined", **pool: Any) -> AgentPlan:
    """Return what is decided so many seconds after the start in a room with a caller alone."""
    dispatches, scene = pool.pop("dispatches", []), {"participants": [CALLER], "before": {}}
    known = {"policy": "OnFirstParticipant", "place": True, "pods": frozenset({"front-desk-1"}), "restart": "Always"}
    facts = PoolFacts("desk", NAME, **{**known, **pool})
    told: dict[str, Any] = {**scene, "before": {"desk": Reported(NAME, before)}, "asked": {NAME: asked}}
    now = NOW + timedelta(seconds=seconds)
    (plan,) = decide_agents(Scene("lobby", [facts], now, "Known", dispatches=dispatches, **told)).agents
    return plan


def after(*ends: EndedCall, restart: str = "Always") -> AgentPlan:
    """Return what is decided when agents have ended so, one after the other."""
    asked = AskedAgent(calls=1)
    for number, end in enumerate(ends, 1):
        plan = passed(asked, dispatches=[call(number)], ended=[end], restart=restart)
        asked = replace(plan.asked, attempts=0)  # the next one comes
    return plan


def test_one_that_leaves_at_once_is_called_after_growing_pauses() -> None:
    pauses = [
        after(*map(ended, range(1, most + 1))).asked.pause(NOW, frozenset({"front-desk-1"})) for most in range(1, 12)
    ]
    assert pauses[:5] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == MOST_FAILING_SECONDS
    plan = after(*map(ended, range(1, 6)))
    assert (plan.decision.state, plan.decision.create, plan.decision.again) == ("Paused", False, 5.0)
    over = replace(plan.asked, handled=frozenset())
    assert passed(over, MOST_FAILING_SECONDS, "Paused").decision.create


def test_it_is_told_that_it_left_and_did_not_fail() -> None:
    problem = after(*map(ended, range(1, 6))).problem
    assert problem is not None
    assert problem.reason == reasons.AGENT_LEAVES_EARLY
    assert "did not fail; it has left 5 times in a row before a call had lasted 60 s" in problem.message
    assert "the last time after 2 s on pod front-desk-1" in problem.message


@pytest.mark.parametrize(
    ("ends", "restart", "failures", "state", "reason"),
    [
        pytest.param([ended(1)], "Always", 1, "Dispatched", None, id="the first time it is called at once"),
        pytest.param(
            [ended(1), ended(2, lasted=int(LASTED_SECONDS))], "Always", 0, "Dispatched", None, id="a call has lasted"
        ),
        pytest.param(
            [ended(1), ended(2, "LookupError: no")], "Always", 2, "Failing", reasons.AGENT_FAILING, id="the last failed"
        ),
        pytest.param(
            [ended(1, "LookupError: no"), ended(2)],
            "Always",
            2,
            "Paused",
            reasons.AGENT_LEAVES_EARLY,
            id="the last one left",
        ),
        pytest.param([ended(1, "LookupError: no"), ended(2)], "OnFailure", 0, "Finished", None, id="it may leave"),
        pytest.param([ended(1), ended(2)], "Never", 0, "Finished", None, id="nobody is called"),
        pytest.param(
            [ended(1, lasted=None), ended(2, lasted=None)],
            "Always",
            2,
            "Paused",
            reasons.AGENT_LEAVES_EARLY,
            id="an older runner says no time",
        ),
    ],
)
def test_what_counts(ends: list[EndedCall], restart: str, failures: int, state: str, reason: str | None) -> None:
    plan = after(*ends, restart=restart)
    assert (plan.asked.failures, plan.decision.state) == (failures, state)
    assert (plan.problem.reason if plan.problem else None) == reason


def test_a_mix_of_failures_and_leaves_is_told_as_one() -> None:
    problem = after(ended(1), ended(2), ended(3, "LookupError: no")).problem
    assert problem is not None
    assert "its agent has failed or left 3 times in a row" in problem.message


def test_what_its_runner_says_of_the_time_is_believed_where_no_request_is_listed() -> None:
    """An outbound agent that closes its room: nobody lists the request any more."""
    asked, ends = AskedAgent(calls=1), []
    for number, lasted in ((1, 300), (2, 300)):
        ends.append(ended(number, lasted=lasted))
        asked = passed(replace(asked, request=f"AD_{number}"), policy="OnCreate", ended=ends).asked
    assert asked.failures == 0


def test_one_that_leaves_at_once_and_works_on_is_not_called_in_circles_either() -> None:
    asked = AskedAgent(calls=1)
    for number in range(1, 4):
        start = 20.0 * number
        held: dict[str, Any] = {"taken": frozenset({f"AD_{number}"})}
        asked = replace(asked, brought=frozenset({f"AD_{number}"}))
        away = passed(asked, start, dispatches=[call(number)], **held)
        assert (away.decision.state, away.asked.failures) == ("Dispatched", number - 1)
        plan = passed(away.asked, start + 13, away.decision.state, dispatches=[call(number, 16.0)], **held)
        assert plan.asked.failures == number
        assert plan.decision.create is (number == 1)
        asked = plan.asked
    assert plan.decision.state == "Paused"
    assert plan.problem is not None
    assert "the last time after 3 s. With restart: Always" in plan.problem.message
    assert passed(plan.asked, 53 + MOST_FAILING_SECONDS, "Paused").decision.create


def test_it_may_leave_once_the_room_says_so() -> None:
    before = after(*map(ended, range(1, 6))).asked
    plan = passed(before, 1, "Paused", restart="OnFailure")
    assert (plan.decision.create, plan.asked.failures, plan.problem) == (True, 0, None)


def test_the_annotation_and_an_empty_room_begin_anew() -> None:
    plan = after(*map(ended, range(1, 6)))
    assert plan.asked.unneeded().failures == 0
    facts = PoolFacts(
        "desk", NAME, "OnFirstParticipant", place=True, restart="Always", pods=frozenset({"front-desk-1"})
    )
    scene = Scene("lobby", [facts], NOW, "Known", {}, {NAME: plan.asked}, [CALLER], called=True)
    assert decide_agents(scene).agents[0].decision.create
