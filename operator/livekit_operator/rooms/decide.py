"""The decision of a room's pass, about the room itself and its tokens: from what was observed alone."""

from dataclasses import dataclass, field, replace

from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.errors import Blocked, Problem
from livekit_operator.rooms.decide_tokens import TokensPlan, decide_tokens
from livekit_operator.rooms.decisions import lifecycle
from livekit_operator.rooms.decisions.lifecycle import OpenRoom
from livekit_operator.rooms.decisions.limits import refusal
from livekit_operator.rooms.observe import Observation


@dataclass(frozen=True)
class Plan:
    """What to do about a room. One that is `over` is deleted with its resource, and nothing else is done."""

    over: str | None = None
    """Why, in words."""
    keep: OpenRoom | None = None
    """The room that stays; None where one is to be made."""
    unchanged: bool = False
    """Whether the room that stays is not even given other metadata."""
    delete: OpenRoom | None = None
    """The room to delete first."""
    former: str | None = None
    """The id of a room that was deleted, which must not be handed out again."""
    problem: Problem | None = None
    """Why the server would refuse what the room is to become."""
    tokens: TokensPlan = field(default_factory=TokensPlan)


def decide(room: MeetingRoom, observed: Observation) -> Plan:
    """Return what this pass is to do; raises Blocked when it may do nothing."""
    plan = _decide_room(room, observed)
    if plan.over:
        return plan
    return replace(plan, tokens=decide_tokens(room, observed.tokens, observed.now))


def _decide_room(room: MeetingRoom, observed: Observation) -> Plan:
    """Return what becomes of the room itself."""
    view, claimed = observed.view, observed.claimed
    if claimed and (why := lifecycle.over(room, view, observed.participants, observed.now)):
        return Plan(over=why)
    if problem := lifecycle.foreign(room, view, claimed=claimed):
        raise Blocked(problem)
    refused = refusal(room, observed.server, observed.names)
    if refused and claimed and view:
        # With its calls and tokens.
        return Plan(keep=lifecycle.opened_room(room, view), unchanged=True, problem=refused)
    if refused:
        raise Blocked(refused)
    former = room.last.sid if lifecycle.is_recreating(room) else None
    if view is None or not observed.verified:
        return Plan(former=former)
    opened = lifecycle.opened_room(room, view)
    if lifecycle.is_outdated(room, view, observed.participants):
        return Plan(delete=opened, former=view.sid)
    return Plan(keep=opened)
