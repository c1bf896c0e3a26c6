"""Carries out what was decided about a room: the room, then its token Secrets, then its agents."""

from dataclasses import dataclass, replace
from datetime import datetime

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.errors import Blocked
from livekit_operator.reconciling import children
from livekit_operator.rooms.agents import AgentsDone, serve
from livekit_operator.rooms.candidates import wanted_of
from livekit_operator.rooms.claims import claim, unclaim
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decide import Plan, decide
from livekit_operator.rooms.decisions.lifecycle import OpenRoom, is_asked_anew
from livekit_operator.rooms.decisions.settings import room_name
from livekit_operator.rooms.lifecycle import end, open_room
from livekit_operator.rooms.memory import Tokens
from livekit_operator.rooms.observe import Observation
from livekit_operator.rooms.tokens import ensure_tokens


@dataclass(frozen=True)
class Done:
    """The room as the server has it now, its token Secrets, and what came of its agents."""

    room: OpenRoom
    tokens: Tokens
    agents: AgentsDone
    at: datetime


async def apply(context: Context, room: MeetingRoom, observed: Observation, plan: Plan) -> Done | None:
    """Carry out a plan; return None when the room was over. Raises Blocked while its room cannot be made."""
    if plan.over:
        await end(context, room, plan.over)
        return None
    access, claimed = observed.access, observed.claimed
    if observed.joined:
        access.rooms.dirty.add(room_name(room))  # since the listing
    written = await claim(context, room, access, claimed=claimed)
    if written and plan.delete and not is_asked_anew(room, plan.delete.view):
        # Whoever has joined since it was seen empty stays in it.
        plan = decide(room, replace(observed, participants=await access.client.list_participants(room_name(room))))
    try:
        opened = await open_room(room, observed, plan)
    except Blocked as blocked:
        if blocked.problem.reason == reasons.ROOM_EXISTS:
            await unclaim(context, room)
        raise
    # Not before the room exists: whoever joins with the token would create it, and it would count as somebody else's.
    tokens = await ensure_tokens(context, room, observed, plan.tokens)
    agents = await serve(context, wanted_of(context, room, observed.agents), access, opened.view)
    return Done(opened, tokens, agents, context.now())


async def dismiss(context: Context, room: MeetingRoom) -> None:
    """Take the tokens from a room that may not use its server, or no longer."""
    await children.remove_secrets(context, room)
    for memory in context.pools.values():
        memory.release(room.key)  # its agents no longer matter
