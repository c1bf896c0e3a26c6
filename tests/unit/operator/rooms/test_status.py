"""What a room says of itself."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom, MeetingRoomStatus
from livekit_operator.constants import ANNOTATION_RECREATE
from livekit_operator.errors import Problem
from livekit_operator.moments import timestamp
from livekit_operator.reconciling.status import Outcome
from livekit_operator.rooms.agents import AgentsDone
from livekit_operator.rooms.apply import Done
from livekit_operator.rooms.decide import Plan
from livekit_operator.rooms.decisions.agents import AgentPlan
from livekit_operator.rooms.decisions.dispatching import Decision
from livekit_operator.rooms.decisions.lifecycle import OpenRoom
from livekit_operator.rooms.decisions.settings import AgentNames, room_settings, settings_hash
from livekit_operator.rooms.memory import Tokens
from livekit_operator.rooms.observe import Observation
from livekit_operator.rooms.status import status
from livekit_operator.servers.memory import ServerAccess
from livekit_operator.views import RoomView
from tests.fakes import models
from tests.fakes.clock import Clock
from tests.fakes.world import World
from tests.unit.operator.rooms.life import ROOM, look, opened

NOW = Clock().now
SETTINGS = room_settings(models.room())
DIGEST = settings_hash(SETTINGS)
EMPTY, IN_USE = RoomView("RM_1", SETTINGS), RoomView("RM_1", SETTINGS, participants=2)


def problem(reason: str, again: float | None = None) -> Problem:
    return Problem(reasons.Reason(reason), "It is so.", again)


def agent(pool: str, state: Any, again: float | None = None, why: str | None = None) -> AgentPlan:
    return AgentPlan(pool, pool, Decision(state, again=again), "speaking", problem(why) if why else None)


def told(
    room: MeetingRoom | None = None,
    view: RoomView = EMPTY,
    *,
    agents: Sequence[AgentPlan] = (),
    people: Sequence[str] = (),
    tokens: Tokens | None = None,
    refused: Problem | None = None,
    digest: str | None = DIGEST,
    **seen: Any,
) -> Outcome:
    """Return the status of a room after a pass."""
    given: dict[str, Any] = {"agents_problem": None, "server_problem": None, "tokens": None, **seen}
    access = cast(ServerAccess, None)
    observed = Observation(NOW, models.server(), access, True, view, True, (), AgentNames(), agents=(), **given)
    done = Done(OpenRoom(EMPTY, digest), tokens or Tokens((), None), AgentsDone(view, people, agents), NOW)
    return status(room or models.room(), observed, Plan(problem=refused), done)


def said(outcome: Outcome) -> dict[str, tuple[bool | None, str]]:
    """Return type -> status and reason of the conditions."""
    return {one.type: (one.status, one.reason) for one in outcome.conditions}


def fields_of(outcome: Outcome) -> MeetingRoomStatus:
    assert isinstance(outcome.fields, MeetingRoomStatus)
    return outcome.fields


READY = {"Ready": (True, "Ready")}


@pytest.mark.parametrize(
    ("seen", "conditions"),
    [
        pytest.param({}, READY, id="it is open"),
        pytest.param({"tokens": Tokens((), None, problem("NotOwned"))}, {"Ready": (False, "NotOwned")}, id="a token"),
        pytest.param({"server_problem": problem("Progressing")}, {"Ready": (False, "Progressing")}, id="its server"),
        pytest.param(
            {"server_problem": problem("Progressing"), "tokens": Tokens((), None, problem("NotOwned"))},
            {"Ready": (False, "NotOwned")},
            id="a token before its server",
        ),
        pytest.param(
            {"refused": problem("PresetNotFound"), "tokens": Tokens((), None, problem("NotOwned"))},
            {"Ready": (False, "PresetNotFound")},
            id="its spec before all",
        ),
        pytest.param(
            {"agents_problem": problem("PoolAmbiguous")},
            {"Ready": (False, "PoolAmbiguous"), "AgentsReady": (False, "PoolAmbiguous")},
            id="no agent to call",
        ),
        pytest.param(
            {"agents": [agent("a", "Joined"), agent("b", "Unavailable", why="AllWorkersFull")]},
            {"Ready": (False, "AllWorkersFull"), "AgentsReady": (False, "AllWorkersFull")},
            id="one of two agents",
        ),
        pytest.param(
            {"agents": [agent("a", "Unavailable", why="AllWorkersFull")], "server_problem": problem("Progressing")},
            {"Ready": (False, "Progressing"), "AgentsReady": (False, "AllWorkersFull")},
            id="its server before an agent",
        ),
        pytest.param({"agents": [agent("a", "Joined")]}, {**READY, "AgentsReady": (True, "PoolsReady")}, id="an agent"),
        pytest.param(
            {"digest": "other"}, {**READY, "SettingsApplied": (False, "PendingRecreate")}, id="other settings"
        ),
    ],
)
def test_what_a_room_says(seen: dict[str, Any], conditions: dict[str, tuple[bool, str]]) -> None:
    assert said(told(**seen)) == conditions


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (["Joined", "Joined"], "Every agent is in the room."),
        (["Joined", "Waiting"], "Agents come to this room when it needs them."),
    ],
)
def test_whether_agents_are_there(states: list[str], message: str) -> None:
    outcome = told(agents=[agent(str(n), state) for n, state in enumerate(states)])
    assert outcome.conditions[1].message == message
    assert fields_of(outcome).agents_joined == states.count("Joined")


def test_what_is_noted_of_tokens_is_said_though_all_is_well() -> None:
    assert told(tokens=Tokens((), None, note="Secret lobby is kept.")).conditions[0].message == (
        "Room support-42 is open. Secret lobby is kept."
    )
    assert told().conditions[0].message == "Room support-42 is open."


def test_what_is_told_of_each_agent() -> None:
    silent = AgentPlan("back-office", "office", Decision("Waiting"), "")
    lines = fields_of(told(agents=[agent("front-desk", "Joined"), silent])).agents
    assert [(line.pool, line.agent_name, line.state, line.activity) for line in lines] == [
        ("front-desk", "front-desk", "Joined", "speaking"),
        ("back-office", "office", "Waiting", None),
    ]


TTL = {"ttlSecondsAfterEmpty": 60}
SINCE = timestamp(NOW - timedelta(seconds=40))


@pytest.mark.parametrize(
    ("spec", "before", "view", "since"),
    [
        pytest.param(TTL, {}, EMPTY, timestamp(NOW), id="from now on"),
        pytest.param(TTL, {"sid": "RM_1", "emptySince": SINCE}, EMPTY, SINCE, id="as before"),
        pytest.param(TTL, {"sid": "RM_0", "emptySince": SINCE}, EMPTY, timestamp(NOW), id="another room before"),
        pytest.param(TTL, {"sid": "RM_1", "emptySince": SINCE}, IN_USE, None, id="somebody is there"),
        pytest.param({}, {"sid": "RM_1", "emptySince": SINCE}, EMPTY, None, id="nobody minds"),
    ],
)
def test_since_when_it_is_empty(
    spec: dict[str, Any], before: dict[str, Any], view: RoomView, since: str | None
) -> None:
    room = models.room(**spec).model_copy(update={"status": before})
    assert fields_of(told(room, view)).empty_since == since


@pytest.mark.parametrize(
    ("spec", "view", "seen", "seconds"),
    [
        pytest.param({}, EMPTY, {}, None, id="nothing is due"),
        pytest.param({}, EMPTY, {"tokens": Tokens((), NOW + timedelta(seconds=90))}, 90, id="a token"),
        pytest.param({}, EMPTY, {"tokens": Tokens((), NOW - timedelta(seconds=1))}, 0.1, id="one that is overdue"),
        pytest.param(
            {}, EMPTY, {"tokens": Tokens((), None, problem("NotOwned", 5.0))}, 5, id="a token that was refused"
        ),
        pytest.param(
            {}, EMPTY, {"agents": [agent("a", "Dispatched", 3.0), agent("b", "Joined", 300.0)]}, 3, id="an agent"
        ),
        pytest.param({"expiresAt": timestamp(NOW + timedelta(seconds=30))}, IN_USE, {}, 30, id="its end"),
        pytest.param(TTL, EMPTY, {}, 60, id="its time without people"),
        pytest.param(TTL, IN_USE, {}, None, id="while people are there"),
        pytest.param({}, EMPTY, {"digest": "other"}, 1, id="it is to be made anew"),
        pytest.param({}, IN_USE, {"digest": "other"}, None, id="when people have left"),
        pytest.param({}, EMPTY, {"digest": "other", "refused": problem("PresetNotFound")}, None, id="or not at all"),
    ],
)
def test_when_the_next_pass_is_due(
    spec: dict[str, Any], view: RoomView, seen: dict[str, Any], seconds: float | None
) -> None:
    assert told(models.room(**spec), view, **seen).again == seconds


def test_what_the_next_pass_reads_back() -> None:
    room = models.room()
    room.metadata.annotations[ANNOTATION_RECREATE] = "2"
    fields = fields_of(told(room, IN_USE))
    assert (fields.room_name, fields.sid, fields.participants) == ("support-42", "RM_1", 2)
    assert (fields.settings_hash, fields.last_handled_recreate) == (DIGEST, "2")


async def test_who_is_there_is_told_up_to_a_number(world: World) -> None:
    await opened(world)
    for n in range(30):
        world.livekit.join(ROOM, f"p{n:02}")
    world.livekit.join(ROOM, "agent-1", agent_name="front-desk")
    await look(world)
    status = world.get("MeetingRoom", ROOM)["status"]
    assert (status["participants"], status["participantIdentities"]) == (30, [f"p{n:02}" for n in range(20)])
    world.livekit.rooms[ROOM].participants.clear()
    await look(world)
    status = world.get("MeetingRoom", ROOM)["status"]
    assert (status["participants"], status["participantIdentities"]) == (0, [])
    world.forget()
    await world.reconcile("MeetingRoom", ROOM)
    assert world.livekit.requests == [], "nobody is asked who is in an empty room"
