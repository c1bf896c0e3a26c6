"""Whoever waits without an agent gets one, whatever is heard of those that were there before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from livekit_operator.rooms.decisions.agents import AgentPlan, decide_agents
from livekit_operator.rooms.decisions.asked import AskedAgent
from livekit_operator.rooms.decisions.scene import PoolFacts, Reported, Scene
from livekit_operator.views import DispatchView, EndedCall, EndedJob, JobView, ParticipantView

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "agent"
CALLER = ParticipantView("caller", age=100.0)
AGENT = ParticipantView("agent-AJ_1", NAME, "listening")
CALL = DispatchView("AD_1", NAME, 40.0, jobs=(JobView("AJ_1", "agent-AJ_1"),))
ASKED = AskedAgent(calls=1)


def ended(job: str = "AJ_1", error: str = "", *, at: datetime = NOW, dispatch: str = "") -> EndedCall:
    return EndedCall(EndedJob(job, "lobby", bool(error), error, dispatch), at, "front-desk-1")


def passed(plan: AgentPlan | None, seconds: float = 0.0, pool: dict[str, Any] | None = None, **scene: Any) -> AgentPlan:
    """Return what is decided so many seconds after the start, `plan` before."""
    facts = PoolFacts("desk", NAME, **{"policy": "OnFirstParticipant", "place": True, **(pool or {})})
    asked, before = (ASKED, "Joined") if plan is None else (plan.asked, plan.decision.state)
    given: dict[str, Any] = {"participants": [CALLER], "dispatches": [CALL], **scene}
    known: dict[str, Any] = {"asked": {NAME: asked}, "before": {"desk": Reported(NAME, before, left_at=asked.left_at)}}
    now = NOW + timedelta(seconds=seconds)
    (told,) = decide_agents(Scene("lobby", [facts], now, "Known", **known, **given)).agents
    return told


def test_a_dead_process_of_a_living_worker_leaves_no_agent_behind() -> None:
    plan = passed(None, participants=[CALLER, AGENT], pool={"ended": [ended(error="SIGKILL")]})
    assert (plan.decision.create, plan.decision.remove) == (True, ("agent-AJ_1",))


def test_a_caller_who_is_back_while_the_job_still_ends_has_an_agent() -> None:
    held: dict[str, Any] = {"taken": frozenset({"AD_1"})}
    short = replace(CALL, age=8.0)
    plan = passed(None, participants=[ParticipantView("caller", age=0.5)], dispatches=[short], pool=held)
    assert (plan.decision.state, plan.decision.create) == ("Dispatched", True)


def test_nor_is_the_job_a_hope_while_no_other_is_free() -> None:
    held: dict[str, Any] = {"taken": frozenset({"AD_1"}), "place": False}
    short = replace(CALL, age=8.0)
    plan = passed(None, participants=[ParticipantView("caller", age=0.5)], dispatches=[short], pool=held)
    assert plan.decision.state == "Unavailable"


def test_who_waits_for_a_place_gets_one_when_the_job_before_ends() -> None:
    # The server has started anew, or the caller came back: the job that still ends has the only place.
    full: dict[str, Any] = {"taken": frozenset({"AD_1"}), "place": False}
    waits = passed(None, participants=[ParticipantView("caller", age=1.0)], dispatches=[], pool=full)
    assert waits.decision.state == "Unavailable"
    over = [ended(at=NOW + timedelta(seconds=14))]
    plan = passed(waits, 14, {"ended": over}, participants=[ParticipantView("caller", age=15.0)], dispatches=[])
    assert (plan.decision.state, plan.decision.create) == ("Dispatched", True)


def test_whoever_came_after_the_agent_had_left_was_not_with_it_though_its_job_ended_later() -> None:
    held: dict[str, Any] = {"taken": frozenset({"AD_1"})}
    left = passed(None, 0, held)
    assert left.decision.state == "Finished"
    late = ParticipantView("late", age=0.0)
    both = passed(left, 15, held, participants=[CALLER, late])
    over = {"ended": [ended(at=NOW + timedelta(seconds=30))]}
    stays = passed(both, 30, over, participants=[CALLER, replace(late, age=15.0)])
    assert stays.decision.state == "Finished"
    alone = passed(stays, 40, over, participants=[replace(late, age=25.0)], dispatches=[])
    assert alone.decision.create


def test_an_end_that_is_heard_before_its_job_is_listed_counts() -> None:
    asked = AskedAgent(calls=1, attempts=1, asked_for=(("caller", NOW - timedelta(seconds=3)),))
    young = DispatchView("AD_1", NAME, 2.0)
    facts = PoolFacts("desk", NAME, "OnFirstParticipant", place=True, ended=[ended(dispatch="AD_1")])
    scene = Scene("lobby", [facts], NOW, "Known", asked={NAME: asked}, dispatches=[young])
    (plan,) = decide_agents(replace(scene, participants=[replace(CALLER, age=3.0)])).agents
    assert plan.decision.state == "Finished"


def test_what_is_not_known_now_is_told_as_before() -> None:
    left = NOW - timedelta(seconds=60)
    facts = PoolFacts("desk", NAME, "OnFirstParticipant", place=True)
    scene = Scene("lobby", [facts], NOW, "Unknown", before={"desk": Reported(NAME, "Finished", left_at=left)})
    (plan,) = decide_agents(scene).agents
    assert (plan.decision.state, plan.asked.left_at) == ("Finished", left)


def test_pools_of_one_name_are_told_the_same_and_hear_of_each_others_workers() -> None:
    one = PoolFacts("desk", NAME, "OnFirstParticipant", place=True)
    other = PoolFacts("night", NAME, "OnFirstParticipant", ended=[ended()])
    before = {"desk": Reported(NAME, "Joined"), "night": Reported(NAME, "Joined")}
    scene = Scene("lobby", [one, other], NOW, "Known", before, {NAME: ASKED}, [CALLER], [CALL])
    plans = decide_agents(scene).agents
    assert [(plan.decision.state, plan.asked.left_at) for plan in plans] == [("Finished", NOW)] * 2
    held = replace(scene, pools=[one, replace(other, ended=(), taken=frozenset({"AD_1"}))])
    young = replace(CALL, age=5.0, jobs=())
    waited = replace(held, asked={NAME: replace(ASKED, attempts=1)}, before={}, dispatches=[young])
    assert not any(plan.decision.create for plan in decide_agents(waited).agents)


def test_one_that_comes_back_after_its_connection_broke_is_let_come() -> None:
    back = replace(AGENT, state="", connected=False, age=0.3)
    plan = passed(None, participants=[CALLER, back], pool={"taken": frozenset({"AD_1"})})
    assert (plan.decision.state, plan.decision.remove) == ("Dispatched", ())


def test_an_older_request_says_nothing_of_the_last_one() -> None:
    asked = replace(ASKED, calls=2, attempts=1, request="AD_2")
    for dispatch, state in (("AD_1", "Dispatched"), ("AD_2", "Finished")):
        facts = PoolFacts("desk", NAME, "OnFirstParticipant", place=True, ended=[ended(dispatch=dispatch)])
        scene = Scene("lobby", [facts], NOW, "Known", asked={NAME: asked}, participants=[CALLER])
        assert decide_agents(scene).agents[0].decision.state == state


def test_one_that_vanishes_before_its_worker_is_known_to_be_dead_has_not_left() -> None:
    held = passed(None, 0, {"taken": frozenset({"AD_1"})})
    assert held.decision.state == "Finished"
    dead = passed(held, 3, {"lost": frozenset({"AJ_1"})})
    assert (dead.decision.state, dead.decision.create) == ("Dispatched", True)
    silent = passed(held, 6)
    assert (silent.decision.state, silent.decision.create) == ("Dispatched", True)


def test_one_that_worked_long_after_it_left_has_left_however_its_worker_ends() -> None:
    held: dict[str, Any] = {"taken": frozenset({"AD_1"})}
    worked = passed(passed(None, 0, held), 30, held)
    plan = passed(worked, 32, {"lost": frozenset({"AJ_1"})})
    assert (plan.decision.state, plan.asked.left_at) == ("Finished", NOW)


def test_one_that_is_always_to_be_there_is_not_waited_for_until_its_job_ends() -> None:
    pool: dict[str, Any] = {"restart": "Always", "taken": frozenset({"AD_1"})}
    soon = passed(None, 0, pool)
    assert (soon.decision.state, soon.decision.create) == ("Dispatched", False), "its connection may have broken"
    later = passed(soon, 13, pool)
    assert (later.decision.state, later.decision.create) == ("Dispatched", True)


def test_a_status_that_could_not_be_written_brings_no_agent_that_left_back() -> None:
    facts = PoolFacts("desk", NAME, "OnFirstParticipant", place=True)
    before = {"desk": Reported(NAME, "Finished", left_at=NOW - timedelta(seconds=60))}
    asked = {NAME: replace(ASKED, awaited=True)}
    scene = Scene("lobby", [facts], NOW, "Known", before, asked, [CALLER])
    assert decide_agents(scene).agents[0].decision.create


def test_one_is_called_by_the_annotation_while_the_job_before_still_ends() -> None:
    held: dict[str, Any] = {"taken": frozenset({"AD_1"})}
    plan = passed(passed(None, 0, held), 30, held, called=True)
    assert (plan.decision.state, plan.decision.create) == ("Dispatched", True)
