"""MeetingRoom: one pass, from the room on its server to its token Secrets and its agents."""

from dataclasses import replace
from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.constants import ANNOTATION_RECREATE
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked, Problem, RoomUnanswered, ServerNotAllowed
from livekit_operator.moments import parse_timestamp
from livekit_operator.reconciling import children, status
from livekit_operator.reconciling.frame import reconcile
from livekit_operator.reconciling.status import Outcome
from livekit_operator.rooms import lifecycle
from livekit_operator.rooms.agents import agent_names, ensure_agents
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions import settings as build
from livekit_operator.rooms.decisions.limits import Limits, refusal
from livekit_operator.rooms.finalize import finalize
from livekit_operator.rooms.kinds import effective_agents, with_agents
from livekit_operator.rooms.lifecycle import RememberingClient, holder_of
from livekit_operator.rooms.status import Observation, decide
from livekit_operator.rooms.tokens import ensure_tokens
from livekit_operator.servers.access import find_access, find_server, server_problem
from livekit_operator.servers.memory import ServerAccess

_NAME_RETRY_SECONDS = 5.0
# How long at most a deleted room is still listed though nobody answers for it.
_ROOM_PATIENCE = timedelta(seconds=15)
_ROOM_RETRY_SECONDS = 1.0


async def reconcile_room(context: Context, key: Key) -> float | None:
    """Reconcile one MeetingRoom."""
    return await reconcile(context, MeetingRoom, key, _pass)


async def _pass(context: Context, room: MeetingRoom) -> Outcome | None:
    if room.metadata.deletion_timestamp:
        return await finalize(context, room)
    if why := lifecycle.expired(room, context.now()):
        await lifecycle.end(context, room, why)
        return None
    since = context.unanswered.pop(room.key, None)
    try:
        return await _keep(context, room)
    except RoomUnanswered as error:
        context.unanswered[room.key] = since or context.now()
        return _unanswered(context, room, error)
    except Blocked as blocked:
        if room.spec.expires_at:
            # It expires in time whatever keeps it from being opened.
            left = (parse_timestamp(room.spec.expires_at) - context.now()).total_seconds()
            again = blocked.problem.retry_after
            problem = replace(blocked.problem, retry_after=left if again is None else min(left, again))
            raise Blocked(problem) from blocked
        raise


def _unanswered(context: Context, room: MeetingRoom, error: RoomUnanswered) -> Outcome:
    """Return that nothing is said for a while: a room that ends is still listed when nobody answers for it."""
    if context.now() - context.unanswered[room.key] < _ROOM_PATIENCE:
        return Outcome((), None, _ROOM_RETRY_SECONDS, silent=True)
    message = (
        f"The server answers, but none of its nodes does for room {build.room_name(room)}: {error}. Make the room anew "
        f"by another value of the annotation {ANNOTATION_RECREATE} if it stays so."
    )
    return status.halted(room, Problem(reasons.ROOM_UNANSWERED, message, retry_after=_NAME_RETRY_SECONDS))


async def _keep(context: Context, room: MeetingRoom) -> Outcome | None:
    try:
        server = find_server(context, room, room.spec.server_ref)
    except ServerNotAllowed:
        await children.remove_secrets(context, room)
        for memory in context.pools.values():
            memory.served(room.key)  # its agents no longer matter
        raise
    holder = holder_of(context, room)
    if holder != room.key:
        message = (
            f"MeetingRoom {'/'.join(holder)} has room {build.room_name(room)} already: choose another roomName, or "
            f"delete that one."
        )
        raise Blocked(Problem(reasons.NAME_CONFLICT, message, retry_after=_NAME_RETRY_SECONDS))
    access = find_access(context, room, server)
    if access is None:
        return None
    if not access.rooms.listed or not access.keys.external_url:
        problem = server_problem(room, server)
        if problem is None:
            return None  # the server's first listing wakes us
        raise Blocked(problem)
    claimed = lifecycle.is_claimed(context, room, access)
    if claimed and (why := await lifecycle.ended(room, access, context.now())):
        await lifecycle.end(context, room, why)
        return None
    return decide(context, room, await apply(context, room, server, access, claimed=claimed))


async def apply(
    context: Context, room: MeetingRoom, server: LiveKitServer, access: ServerAccess, *, claimed: bool
) -> Observation:
    """Make room, Secrets and dispatches as desired and return them."""
    listed = access.rooms.get(build.room_name(room))
    lifecycle.check_foreign(room, listed, claimed=claimed)
    names = agent_names(context, room, server)
    if (problem := refusal(room, server, names)) and not (claimed and listed):
        raise Blocked(problem)
    await lifecycle.claim(context, room, access, claimed=claimed)
    remembering = RememberingClient(access.client)
    access = replace(access, client=remembering.client)
    # If the server would refuse what the room is to become, an existing room goes on as it is, with calls and tokens.
    opened = lifecycle.opened_room(room, listed) if listed and problem else None
    try:
        opened = opened or await lifecycle.ensure_room(room, access, claimed=claimed)
    except Blocked as blocked:
        if blocked.problem.reason == reasons.ROOM_EXISTS:
            await lifecycle.unclaim(context, room)
        raise
    # Not before the room exists: whoever joins with the token would create it, and it would count as somebody else's.
    tokens = await ensure_tokens(context, room, access, Limits.of(server), names, new=not claimed)
    effective, agents_problem = effective_agents(context, room)
    view, agents = await ensure_agents(context, with_agents(room, effective), access, opened.view)
    listed_people = [p.identity for p in remembering.participants if p.agent_name is None]
    people = sorted(listed_people) if view.participants else []
    # It may list rooms and not be ready: nobody can connect, or Redis accepts no writes.
    unready = server_problem(room, server)
    return Observation(replace(opened, view=view), tokens, agents, problem, agents_problem, people, unready)
