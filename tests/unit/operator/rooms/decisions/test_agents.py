"""What is decided for all pools of a room together."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.errors import Problem
from livekit_operator.rooms.decisions.agents import decide_agents
from livekit_operator.rooms.decisions.asked import AskedAgent
from livekit_operator.rooms.decisions.dispatching import Decision
from livekit_operator.rooms.decisions.scene import PoolFacts, Reported, Scene
from livekit_operator.views import DispatchView, ParticipantView

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CALLER = ParticipantView("caller")
TROUBLE = Problem(reasons.PODS_FAILING, "Its pods fail.")


def desk(shown: str = "desk", **fields: Any) -> PoolFacts:
    given: dict[str, Any] = {"agent_name": "agent", "policy": "OnFirstParticipant", "place": True, **fields}
    return PoolFacts(shown, **given)


def scene(*pools: PoolFacts, **fields: Any) -> Scene:
    given: dict[str, Any] = {"need": "Known", "participants": [CALLER], **fields}
    return Scene("lobby", pools, NOW, **given)


def test_a_caller_gets_an_agent() -> None:
    (agent,) = decide_agents(scene(desk())).agents
    assert (agent.decision.create, agent.decision.state, agent.part) == (True, "Dispatched", "Decided")
    assert agent.asked == AskedAgent(attempts=1, calls=1, asked_for=(("caller", NOW),))
    assert agent.problem is None


def test_two_pools_of_one_name_bring_one_agent_by_the_one_that_has_a_place() -> None:
    first, second = decide_agents(scene(desk("full", place=False), desk("free"))).agents
    assert (first.pool, first.part, first.decision.create) == ("free", "Decided", True)
    assert (second.pool, second.part, second.decision.create) == ("full", "SameName", False)


def test_pools_without_a_name_are_each_decided() -> None:
    pools = [desk(name, agent_name="", usable=False, place=False, problem=TROUBLE) for name in ("one", "two")]
    assert [(agent.decision.state, agent.problem) for agent in decide_agents(scene(*pools)).agents] == [
        ("Unavailable", TROUBLE),
        ("Unavailable", TROUBLE),
    ]


@pytest.mark.parametrize(
    ("place", "deployment"),
    [pytest.param(True, "blue", id="the canary has a place"), pytest.param(False, "", id="it has none, so the others")],
)
def test_a_call_never_waits_for_the_canary(place: bool, deployment: str) -> None:
    pool = desk(canary="blue", canary_weight=100, canary_place=place)
    (agent,) = decide_agents(scene(pool)).agents
    assert (agent.decision.create, agent.decision.deployment) == (True, deployment)


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        pytest.param(desk(place=False), reasons.DISPATCH_PENDING, id="nothing is known"),
        pytest.param(desk(place=False, unserved=TROUBLE), TROUBLE.reason, id="the pool knows"),
        pytest.param(desk(place=False, full_share="guests", unserved=TROUBLE), reasons.SHARE_REACHED, id="its share"),
        pytest.param(desk(place=False, problem=TROUBLE, full_share="guests"), TROUBLE.reason, id="no room gets one"),
    ],
)
def test_why_nobody_comes(pool: PoolFacts, reason: str) -> None:
    (agent,) = decide_agents(scene(pool)).agents
    assert agent.decision.state == "Unavailable"
    assert agent.problem is not None
    assert agent.problem.reason == reason


def test_the_agent_of_a_former_pool_is_removed_and_a_renamed_one_goes_on() -> None:
    there = [CALLER, ParticipantView("agent-1", "old"), ParticipantView("agent-2", "gone")]
    plan = decide_agents(
        scene(
            desk(),
            before={"desk": Reported("old"), "other": Reported("gone")},
            participants=there,
            dispatches=[DispatchView("AD_1", "old", 5.0), DispatchView("AD_2", "gone", 5.0)],
        )
    )
    assert (plan.drop_dispatches, plan.drop_participants) == (("AD_2",), ("agent-2",))
    (agent,) = plan.agents
    assert (agent.agent_name, agent.decision.state, agent.joined) == ("old", "Joined", frozenset({"agent-1"}))


def test_where_nobody_needs_an_agent_its_place_is_free() -> None:
    agents = decide_agents(scene(desk(), desk("away", usable=False, problem=TROUBLE), need="None")).agents
    assert [(agent.part, agent.decision.state, agent.problem) for agent in agents] == [
        ("Unneeded", "Waiting", None),
        ("Unneeded", "Unavailable", TROUBLE),
    ]


def test_what_cannot_be_told_stays_as_it_was_reported() -> None:
    before = {"desk": Reported("old", "Joined", "listening")}
    told, new = decide_agents(scene(desk(), desk("new"), need="Unknown", before=before, again=3.0)).agents
    assert (told.agent_name, told.decision, told.activity) == ("old", Decision("Joined", again=3.0), "listening")
    assert (new.agent_name, new.decision.state) == ("agent", "Waiting")


VAIN = AskedAgent(attempts=4, calls=9, unconnected=True)
NOTED = [
    pytest.param(AskedAgent(), Decision("Dispatched", create=True, attempts=1), AskedAgent(1, 1), id="asked for"),
    pytest.param(VAIN, Decision("Joined"), AskedAgent(0, 9), id="connected"),
    pytest.param(VAIN, Decision("Waiting"), AskedAgent(0, 9), id="not needed"),
    pytest.param(
        VAIN, Decision("Unavailable"), replace(VAIN, awaited=True), id="the next pause is no shorter for a wait"
    ),
    pytest.param(
        AskedAgent(2, 3),
        Decision("Dispatched", attempts=2, unconnected=True),
        AskedAgent(2, 3, True),
        id="joined in vain",
    ),
]


@pytest.mark.parametrize(("before", "decision", "after"), NOTED)
def test_how_an_agent_was_asked_for(before: AskedAgent, decision: Decision, after: AskedAgent) -> None:
    assert before.noted(decision, NOW) == after
