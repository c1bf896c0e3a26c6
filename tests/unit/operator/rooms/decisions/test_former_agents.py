"""What comes after an agent has left: nothing where it left on purpose, another one where it failed, after a pause."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.pools.decisions.failing import LASTED_SECONDS
from livekit_operator.rooms.decisions.agents import AgentPlan, decide_agents
from livekit_operator.rooms.decisions.asked import MOST_FAILING_SECONDS, AskedAgent
from livekit_operator.rooms.decisions.dispatching import WITH_AGENT_SECONDS
from livekit_operator.rooms.decisions.scene import PoolFacts, Reported, Scene
from livekit_operator.views import DispatchView, EndedCall, EndedJob, JobView, ParticipantView

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "agent"
PODS = frozenset({"front-desk-1"})
# In the room since before the agent came.
CALLER = ParticipantView("caller", age=100.0)
AGENT = ParticipantView("agent-AJ_1", NAME, "listening")
CALL = DispatchView("AD_1", NAME, 40.0, jobs=(JobView("AJ_1", "agent-AJ_1"),))
ASKED = AskedAgent(calls=1)
JOINED = {"desk": Reported(NAME, "Joined")}


def ended(job: str = "AJ_1", error: str = "", *, seconds: float = 1.0, lasted: int | None = None) -> EndedCall:
    """Return a job that ended so many seconds ago: well, or with these last words."""
    return EndedCall(
        EndedJob(job, "lobby", bool(error), error, seconds=lasted), NOW - timedelta(seconds=seconds), "front-desk-1"
    )


def decided(*, asked: AskedAgent = ASKED, pool: dict[str, Any] | None = None, **scene: Any) -> AgentPlan:
    """Return what is decided in a room with a caller whose agent is not there any more."""
    facts = PoolFacts("desk", NAME, **{"policy": "OnFirstParticipant", "place": True, "pods": PODS, **(pool or {})})
    given = {"participants": [CALLER], "dispatches": [CALL], "asked": {NAME: asked}, "before": JOINED, **scene}
    (plan,) = decide_agents(Scene("lobby", [facts], NOW, "Known", **given)).agents
    return plan


@pytest.mark.parametrize(
    ("restart", "error", "state"),
    [
        ("OnFailure", "", "Finished"),
        ("OnFailure", "LookupError: no", "Dispatched"),
        ("Never", "", "Finished"),
        ("Never", "LookupError: no", "Failed"),
        ("Always", "", "Dispatched"),
        ("Always", "LookupError: no", "Dispatched"),
    ],
)
def test_who_is_called_again(restart: str, error: str, state: str) -> None:
    plan = decided(pool={"restart": restart, "ended": [ended(error=error)]})
    assert plan.decision.state == state
    assert plan.decision.create is (state == "Dispatched")
    assert plan.decision.delete == ("AD_1",)
    assert (plan.asked.left_at is not None) is (state in ("Finished", "Failed"))


@pytest.mark.parametrize(
    ("people", "dispatches", "called", "state"),
    [
        pytest.param([CALLER], [], False, "Finished", id="those who were with it stay without"),
        pytest.param([], [], False, "Waiting", id="everybody has left: whoever comes next asks anew"),
        pytest.param([replace(CALLER, age=2.0)], [], False, "Dispatched", id="somebody came to the empty room"),
        pytest.param(
            [replace(CALLER, age=30.0 + WITH_AGENT_SECONDS - 1)], [], False, "Dispatched", id="came while it left"
        ),
        pytest.param(
            [CALLER, replace(CALLER, identity="late", age=2.0)], [], False, "Finished", id="somebody joined the others"
        ),
        pytest.param([CALLER], [], True, "Dispatched", id="asked for by the annotation"),
        pytest.param([CALLER], [CALL], False, "Finished", id="its dispatch is still listed"),
    ],
)
def test_a_finished_agent_is_called_when_people_ask_anew(
    people: list[ParticipantView], dispatches: list[DispatchView], called: bool, state: str
) -> None:
    asked = replace(ASKED, left_at=NOW - timedelta(seconds=30), handled=frozenset({"AJ_1"}))
    pool = {"ended": [ended(seconds=30)]}
    plan = decided(asked=asked, pool=pool, participants=people, dispatches=dispatches, called=called)
    assert plan.decision.state == state
    assert (plan.asked.left_at is not None) is (state == "Finished")


@pytest.mark.parametrize(
    ("came", "state"),
    [
        pytest.param(3.0, "Finished", id="it left at once those whom it was asked for"),
        pytest.param(0.5, "Dispatched", id="they left, and are back"),
    ],
)
def test_who_was_there_when_it_was_asked_for_was_with_it(came: float, state: str) -> None:
    asked = replace(ASKED, asked_for=(("caller", NOW - timedelta(seconds=3.4)),))
    plan = decided(asked=asked, participants=[replace(CALLER, age=came)], pool={"ended": [ended(seconds=0.2)]})
    assert plan.decision.state == state


def test_an_operator_that_starts_knows_from_the_status_who_has_left() -> None:
    before = {"desk": Reported(NAME, "Finished", left_at=NOW - timedelta(hours=1))}
    plan = decided(asked=AskedAgent(), before=before, participants=[replace(CALLER, age=4000.0)], dispatches=[])
    assert plan.decision.state == "Finished"
    assert plan.asked.left_at == NOW - timedelta(hours=1)


@pytest.mark.parametrize(
    ("before", "dispatches", "state"),
    [
        pytest.param("Joined", [CALL], "Finished", id="its dispatch tells which job it was"),
        pytest.param("Joined", [], "Finished", id="the room was made anew: no dispatch is listed"),
        pytest.param("Waiting", [], "Dispatched", id="a call of long ago"),
        pytest.param("Joined", [replace(CALL, age=1.0, jobs=())], "Dispatched", id="another one was asked for since"),
    ],
)
def test_a_job_that_ended_while_no_operator_ran(before: str, dispatches: list[DispatchView], state: str) -> None:
    told = {"desk": Reported(NAME, before)}
    plan = decided(asked=AskedAgent(), before=told, dispatches=dispatches, pool={"ended": [ended()]})
    assert plan.decision.state == state


def test_an_outbound_agent_calls_once_however_often_its_room_is_made() -> None:
    pool = {"policy": "OnCreate", "ended": [ended()]}
    plan = decided(pool=pool, participants=[], dispatches=[])
    assert plan.decision.state == "Finished"
    again = decided(asked=plan.asked, pool=pool, participants=[], dispatches=[])
    assert (again.decision.state, again.decision.create) == ("Finished", False)


@pytest.mark.parametrize(
    ("restart", "state", "delete"),
    [("OnFailure", "Finished", ()), ("Never", "Finished", ()), ("Always", "Dispatched", ())],
)
def test_a_job_that_still_works_when_its_agent_has_left_is_not_cut(
    restart: str, state: str, delete: tuple[str, ...]
) -> None:
    plan = decided(pool={"restart": restart, "taken": frozenset({"AD_1"})})
    assert (plan.decision.state, plan.decision.delete, plan.decision.create) == (state, delete, False)
    assert plan.decision.again == 2.0


def test_one_that_fails_after_its_agent_has_left_is_called_again() -> None:
    leaving = decided(pool={"taken": frozenset({"AD_1"})})
    failed = decided(asked=leaving.asked, pool={"ended": [ended(error="LookupError: no", seconds=1.5)]})
    assert (failed.decision.state, failed.decision.create) == ("Dispatched", True)


def test_one_that_fails_again_and_again_is_called_after_growing_pauses() -> None:
    asked, pauses = ASKED, []
    for number in range(1, 12):
        call = DispatchView(f"AD_{number}", NAME, 3.0, jobs=(JobView(f"AJ_{number}", f"agent-AJ_{number}"),))
        pool = {"ended": [ended(f"AJ_{number}", f"LookupError: tool {number}", seconds=0.0)]}
        plan = decided(asked=asked, pool=pool, dispatches=[call])
        assert plan.decision.create is (number == 1)
        asked = plan.asked
        pauses.append(asked.pause(NOW, PODS))
        assert plan.decision.create or plan.decision.again == min(5.0, pauses[-1])
    assert plan.decision.state == "Failing"
    assert pauses[:5] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == MOST_FAILING_SECONDS
    assert plan.problem is not None
    assert plan.problem.reason == reasons.AGENT_FAILING
    assert "failed 11 times in a row" in plan.problem.message
    assert "on pod front-desk-1: LookupError: tool 11." in plan.problem.message
    later = asked.last_failure
    assert later is not None
    over = replace(asked, last_failure=replace(later, at=NOW - timedelta(seconds=MOST_FAILING_SECONDS)))
    assert decided(asked=over, dispatches=[]).decision.create
    # Its pod has been replaced, as after a change of the pool.
    assert decided(asked=asked, dispatches=[], pool={"pods": frozenset({"front-desk-2"})}).decision.create


@pytest.mark.parametrize(
    ("age", "failures", "reason"),
    [
        pytest.param(LASTED_SECONDS - 1, 3, reasons.AGENT_FAILING, id="it may fail like the others"),
        pytest.param(LASTED_SECONDS, 0, None, id="the call has lasted"),
    ],
)
def test_failures_count_until_a_call_has_lasted(age: float, failures: int, reason: str | None) -> None:
    asked = replace(ASKED, failures=3, last_failure=ended("AJ_0", "LookupError: no"))
    call = replace(CALL, age=age)
    plan = decided(asked=asked, participants=[CALLER, AGENT], dispatches=[call], pool={"ended": [ended("AJ_0", "no")]})
    assert plan.decision.state == "Joined"
    assert plan.asked.failures == failures
    assert (plan.problem.reason if plan.problem else None) == reason
    if failures:
        assert plan.decision.again == pytest.approx(LASTED_SECONDS - age)


@pytest.mark.parametrize(
    ("version", "failures"),
    [
        pytest.param("old key", 0, id="none of its pods is of the version that failed"),
        pytest.param("new key", 3, id="the same version may fail again"),
        pytest.param("", 3, id="not known"),
    ],
)
def test_failures_of_a_version_that_is_gone_say_nothing_of_the_agent_that_is_there(version: str, failures: int) -> None:
    last = replace(ended("AJ_0", "LookupError: no"), version=version)
    asked = replace(ASKED, failures=3, last_failure=last)
    pool = {"pods": frozenset({"front-desk-2"}), "versions": frozenset({"new key"})}
    plan = decided(asked=asked, pool=pool, participants=[CALLER, AGENT], dispatches=[replace(CALL, age=1.0)])
    assert (plan.decision.state, plan.asked.failures) == ("Joined", failures)
    assert (plan.problem is None) == (failures == 0)


def test_a_call_that_lasted_before_it_failed_is_the_first_that_did() -> None:
    asked = replace(ASKED, failures=5)
    call = replace(CALL, age=LASTED_SECONDS + 1)
    plan = decided(asked=asked, dispatches=[call], pool={"ended": [ended(error="LookupError: no", seconds=2.0)]})
    assert (plan.decision.create, plan.asked.failures, plan.problem) == (True, 1, None)


def test_a_call_whose_worker_was_lost_gets_no_other_agent_where_none_is_to_be_called() -> None:
    plan = decided(pool={"restart": "Never", "lost": frozenset({"AJ_1"})})
    assert (plan.decision.state, plan.decision.create) == ("Failed", False)
    assert plan.problem is not None
    assert "its agent was lost with its worker. With restart: Never" in plan.problem.message
    assert decided(pool={"lost": frozenset({"AJ_1"})}).decision.create


def test_an_end_counts_once() -> None:
    pool = {"ended": [ended(error="LookupError: no", seconds=5.0)]}
    first = decided(pool=pool)
    assert first.asked.failures == 1
    again = decided(asked=first.asked, pool=pool)
    assert again.asked.failures == 1
