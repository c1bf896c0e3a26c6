"""What a MeetingRoom says of itself: fields, and conditions with what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom, MeetingRoomStatus, RoomAgentStatus
from livekit_operator.conditions import Observed
from livekit_operator.constants import ANNOTATION_RECREATE, CONDITION_AGENTS_READY
from livekit_operator.errors import Problem
from livekit_operator.moments import timestamp
from livekit_operator.outside import said
from livekit_operator.reconciling.status import Outcome
from livekit_operator.rooms import lifecycle
from livekit_operator.rooms.agents import AgentObservation
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions import settings as build
from livekit_operator.rooms.lifecycle import OpenRoom
from livekit_operator.rooms.memory import Tokens

_EMPTIED_SECONDS = 1.0
_MOST_IDENTITIES = 20
CONDITION_SETTINGS = "SettingsApplied"


@dataclass(frozen=True)
class Observation:
    """The room as the server has it, its token Secrets, its agents, and who is in it."""

    room: OpenRoom
    tokens: Tokens
    agents: Sequence[AgentObservation]
    room_problem: Problem | None
    agents_problem: Problem | None
    people: Sequence[str]
    server_problem: Problem | None
    """Why the server is not ready, though it lists its rooms."""


def decide(context: Context, room: MeetingRoom, observed: Observation) -> Outcome:
    """Return the status of what was observed."""
    view, now = observed.room.view, context.now()
    empty_since = _empty_since(room, observed.room, timestamp(now))
    fields = MeetingRoomStatus(
        room_name=view.name,
        sid=view.sid,
        settings_hash=observed.room.made_with,
        participants=view.participants,
        participant_identities=[said(identity) for identity in observed.people[:_MOST_IDENTITIES]],
        empty_since=empty_since,
        last_handled_recreate=lifecycle.recreate_asked(room),
        tokens=list(observed.tokens.shown),
        agents=[
            RoomAgentStatus(
                pool=agent.pool,
                agent_name=agent.agent_name,
                state=agent.decision.state,
                activity=agent.activity or None,
            )
            for agent in observed.agents
        ],
        agents_joined=sum(agent.decision.state == "Joined" for agent in observed.agents),
    )
    moments = (observed.tokens.due, lifecycle.ends_at(room, empty_since))
    looks = [(moment - now).total_seconds() for moment in moments if moment]
    looks += [agent.decision.again for agent in observed.agents if agent.decision.again is not None]
    if observed.tokens.problem and observed.tokens.problem.retry_after:
        looks.append(observed.tokens.problem.retry_after)
    outdated = observed.room.differs(build.room_settings(room))
    if outdated and not view.participants and not observed.room_problem:
        # The last person left during this pass: the next listing will show no change.
        looks.append(_EMPTIED_SECONDS)
    return Outcome(_conditions(observed, outdated=outdated), fields, max(0.1, min(looks)) if looks else None)


def _empty_since(room: MeetingRoom, opened: OpenRoom, now: str) -> str | None:
    """Return since when the room is empty, if that matters."""
    if room.spec.ttl_seconds_after_empty is None or opened.view.participants:
        return None
    same = opened.view.sid == room.status.get("sid")
    return (room.status.get("emptySince") if same else None) or now


def _conditions(observed: Observation, *, outdated: bool) -> list[Observed]:
    agent_problem = next((agent.problem for agent in observed.agents if agent.problem), observed.agents_problem)
    problem = observed.room_problem or observed.tokens.problem or observed.server_problem or agent_problem
    is_open = f"Room {observed.room.view.name} is open. {observed.tokens.note or ''}".strip()
    ready = Observed.not_ready(problem) if problem else Observed.ready(is_open)
    conditions = [ready]
    if observed.agents or observed.agents_problem:
        joined = all(agent.decision.state == "Joined" for agent in observed.agents)
        message = "Every agent is in the room." if joined else "Agents come to this room when it needs them."
        agents = agent_problem or Problem(reasons.POOLS_READY, message)
        conditions.append(Observed.told(CONDITION_AGENTS_READY, agent_problem is None, agents))
    if outdated:
        message = (
            "The server cannot change a room in use; it is made anew when everybody has left. To have it now, give the "
            f"annotation {ANNOTATION_RECREATE} another value."
        )
        conditions.append(Observed(CONDITION_SETTINGS, False, reasons.PENDING_RECREATE, message))
    return conditions
