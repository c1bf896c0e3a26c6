"""What a MeetingRoom says of itself: fields, and conditions with what to do."""

from dataclasses import replace

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom, MeetingRoomStatus, RoomAgentStatus
from livekit_operator.conditions import Observed
from livekit_operator.constants import ANNOTATION_CALL_AGENTS, ANNOTATION_RECREATE, CONDITION_AGENTS_READY
from livekit_operator.errors import Problem
from livekit_operator.moments import timestamp
from livekit_operator.outside import said
from livekit_operator.reconciling.status import Outcome
from livekit_operator.rooms.apply import Done
from livekit_operator.rooms.decide import Plan
from livekit_operator.rooms.decisions import lifecycle
from livekit_operator.rooms.decisions import settings as build
from livekit_operator.rooms.decisions.agents import AgentPlan
from livekit_operator.rooms.decisions.lifecycle import OpenRoom
from livekit_operator.rooms.observe import Observation

_EMPTIED_SECONDS = 1.0
_MOST_IDENTITIES = 20
CONDITION_SETTINGS = "SettingsApplied"


def status(room: MeetingRoom, observed: Observation, plan: Plan, done: Done) -> Outcome:
    """Return the status after a pass, and when the next one is due."""
    opened = replace(done.room, view=done.agents.view)
    view, now = opened.view, done.at
    empty_since = _empty_since(room, opened, timestamp(now))
    agents = done.agents.agents
    # What people ask for while it cannot be told who is there is done when it can.
    unheard = any(agent.part == "Unknown" for agent in agents)
    fields = MeetingRoomStatus(
        room_name=view.name,
        sid=view.sid,
        settings_hash=opened.made_with,
        participants=view.participants,
        participant_identities=[said(identity) for identity in done.agents.people[:_MOST_IDENTITIES]],
        empty_since=empty_since,
        last_handled_recreate=lifecycle.recreate_asked(room),
        last_handled_call=room.last.last_handled_call if unheard else lifecycle.call_asked(room),
        tokens=list(done.tokens.shown),
        agents=[
            RoomAgentStatus(
                pool=agent.pool,
                agent_name=agent.agent_name,
                state=agent.decision.state,
                left_at=_left_at(agent),
                activity=agent.activity or None,
            )
            for agent in agents
        ],
        agents_joined=sum(agent.decision.state == "Joined" for agent in agents),
    )
    moments = (done.tokens.due, lifecycle.ends_at(room, empty_since))
    due = [(moment - now).total_seconds() for moment in moments if moment]
    due += [agent.decision.again for agent in agents if agent.decision.again is not None]
    if done.tokens.problem and done.tokens.problem.retry_after:
        due.append(done.tokens.problem.retry_after)
    outdated = opened.differs(build.room_settings(room))
    if outdated and not view.participants and not plan.problem:
        # The last person left during this pass: the next listing will show no change.
        due.append(_EMPTIED_SECONDS)
    return Outcome(_conditions(observed, plan, done, outdated=outdated), fields, max(0.1, min(due)) if due else None)


def _left_at(agent: AgentPlan) -> str | None:
    """Return when an agent left that is not called again."""
    left_at = agent.asked.left_at if agent.decision.state in ("Finished", "Failed") else None
    return timestamp(left_at) if left_at else None


def _empty_since(room: MeetingRoom, opened: OpenRoom, now: str) -> str | None:
    """Return since when the room is empty, if that matters."""
    if room.spec.ttl_seconds_after_empty is None or opened.view.participants:
        return None
    same = opened.view.sid == room.last.sid
    return (room.last.empty_since if same else None) or now


def _conditions(observed: Observation, plan: Plan, done: Done, *, outdated: bool) -> list[Observed]:
    agents = done.agents.agents
    agent_problem = next((agent.problem for agent in agents if agent.problem), observed.agents_problem)
    problem = plan.problem or done.tokens.problem or observed.server_problem or agent_problem
    is_open = f"Room {done.room.view.name} is open. {done.tokens.note or ''}".strip()
    ready = Observed.not_ready(problem) if problem else Observed.ready(is_open)
    conditions = [ready]
    if agents or observed.agents_problem:
        states = {agent.decision.state for agent in agents}
        message = "Agents come to this room when it needs them."
        if states <= {"Joined"}:
            message = "Every agent is in the room."
        elif "Finished" in states:
            message = (
                "An agent has left on purpose. It is called again when somebody comes to the empty room, or by another "
                f"value of the annotation {ANNOTATION_CALL_AGENTS}."
            )
        told = agent_problem or Problem(reasons.POOLS_READY, message)
        conditions.append(Observed.told(CONDITION_AGENTS_READY, agent_problem is None, told))
    if outdated:
        message = (
            "The server cannot change a room in use; it is made anew when everybody has left. To have it now, give the "
            f"annotation {ANNOTATION_RECREATE} another value."
        )
        conditions.append(Observed(CONDITION_SETTINGS, False, reasons.PENDING_RECREATE, message))
    return conditions
