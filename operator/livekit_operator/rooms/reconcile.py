"""MeetingRoom: one pass, from the room on its server to its token Secrets and its agents."""

from dataclasses import replace
from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.constants import ANNOTATION_RECREATE
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked, NodesUnavailable, Problem, RoomUnanswered, ServerNotAllowed
from livekit_operator.moments import parse_timestamp
from livekit_operator.reconciling.frame import reconcile
from livekit_operator.reconciling.status import Outcome, halted
from livekit_operator.rooms.apply import apply, dismiss
from livekit_operator.rooms.claims import is_claimed, remember_claim
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decide import decide
from livekit_operator.rooms.decisions.lifecycle import expired
from livekit_operator.rooms.decisions.settings import room_name
from livekit_operator.rooms.finalize import finalize
from livekit_operator.rooms.lifecycle import end, find_unlisted
from livekit_operator.rooms.observe import find_room_server, observe
from livekit_operator.rooms.status import status

_UNANSWERED_RETRY_SECONDS = 5.0
# How long at most a deleted room is still listed though nobody answers for it; a busy server takes no room for less.
_ROOM_PATIENCE = timedelta(seconds=15)
_ROOM_RETRY_SECONDS = 1.0


async def reconcile_room(context: Context, key: Key) -> float | None:
    """Reconcile one MeetingRoom."""
    return await reconcile(context, MeetingRoom, key, _pass)


async def _pass(context: Context, room: MeetingRoom) -> Outcome | None:
    if room.metadata.deletion_timestamp:
        return await finalize(context, room)
    if why := expired(room, context.now()):
        await end(context, room, why)
        return None
    since = context.unanswered.pop(room.key, None)
    try:
        return await _keep(context, room)
    except (RoomUnanswered, NodesUnavailable) as error:
        context.unanswered[room.key] = since or context.now()
        return _unanswered(context, room, error)
    except ServerNotAllowed as refused:
        await dismiss(context, room)
        raise _until_it_expires(context, room, refused) from refused
    except Blocked as blocked:
        raise _until_it_expires(context, room, blocked) from blocked


async def _keep(context: Context, room: MeetingRoom) -> Outcome | None:
    found = find_room_server(context, room)
    if found is None:
        return None
    server, access = found
    if is_claimed(context, room, access):
        remember_claim(context, room)  # before the server is asked, which may end this pass
    await find_unlisted(context, room, access)
    observed = await observe(context, room, server, access)
    plan = decide(room, observed)
    done = await apply(context, room, observed, plan)
    return status(room, observed, plan, done) if done else None


def _until_it_expires(context: Context, room: MeetingRoom, blocked: Blocked) -> Blocked:
    """Return what keeps a room from being opened: it expires in time all the same."""
    if not room.spec.expires_at:
        return blocked
    left = (parse_timestamp(room.spec.expires_at) - context.now()).total_seconds()
    again = blocked.problem.retry_after
    return Blocked(replace(blocked.problem, retry_after=left if again is None else min(left, again)))


def _unanswered(context: Context, room: MeetingRoom, error: RoomUnanswered | NodesUnavailable) -> Outcome:
    """Return that nothing is said for a while.

    A room that ends is still listed when nobody answers for it, and a server without CPU to spare takes rooms again
    when it has counted its own load.
    """
    if context.now() - context.unanswered[room.key] < _ROOM_PATIENCE:
        return Outcome((), None, _ROOM_RETRY_SECONDS, silent=True)
    if isinstance(error, NodesUnavailable):
        return halted(room, error.problem)
    message = (
        f"The server answers, but none of its nodes does for room {room_name(room)}: {error}. Make the room anew "
        f"by another value of the annotation {ANNOTATION_RECREATE} if it stays so."
    )
    return halted(room, Problem(reasons.ROOM_UNANSWERED, message, retry_after=_UNANSWERED_RETRY_SECONDS))
