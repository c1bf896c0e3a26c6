"""The deletion of a MeetingRoom: its room is deleted on the server, then the resource is released."""

from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.constants import ROOM_FINALIZER
from livekit_operator.errors import Problem, RoomUnanswered, ServerRefused, ServerUnreachable
from livekit_operator.moments import parse_timestamp
from livekit_operator.reconciling import status
from livekit_operator.reconciling.finalizers import remove_finalizer
from livekit_operator.reconciling.ownership import is_orphaning
from livekit_operator.reconciling.references import target
from livekit_operator.reconciling.status import Outcome
from livekit_operator.rooms.claims import holder_of, is_claimed, remember_claim
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions import settings as build
from livekit_operator.rooms.forgotten import delete_room
from livekit_operator.servers.access import access_at

# A server that does not answer delays the deletion of its rooms for this long at most.
DELETION_PATIENCE = timedelta(seconds=60)
_DELETION_RETRY_SECONDS = 2.0
_MAY_BE_LEFT = "The room may still be there: delete it by DeleteRoom, or `lk room delete`."


async def finalize(context: Context, room: MeetingRoom) -> Outcome | None:
    """Delete the room on the server, then release the resource; Kubernetes deletes its Secrets.

    With `--cascade=orphan` the room stays, with everybody in it.
    """
    if ROOM_FINALIZER not in room.metadata.finalizers:
        return None
    if is_orphaning(context, room):
        await remove_finalizer(context, room, ROOM_FINALIZER)
        return None
    server = context.resources["LiveKitServer"].get(target(room, room.spec.server_ref))
    if server is not None and (problem := await _delete_room(context, room)):
        deleted_at = parse_timestamp(room.metadata.deletion_timestamp or "")
        if "deletionTimestamp" not in server["metadata"] and context.now() - deleted_at < DELETION_PATIENCE:
            return status.halted(room, Problem(reasons.DELETING, problem, retry_after=_DELETION_RETRY_SECONDS))
        await status.emit(
            context, room, "Warning", reasons.ROOM_NOT_DELETED, f"Let go without the server: {problem} {_MAY_BE_LEFT}"
        )
    await remove_finalizer(context, room, ROOM_FINALIZER)
    return None


async def _delete_room(context: Context, room: MeetingRoom) -> str | None:
    """Delete the room on its server; return why that is not possible now."""
    if holder_of(context, room, everywhere=True) != room.key:
        return None  # another resource's room
    access = access_at(context, target(room, room.spec.server_ref))
    if access is None:
        return "The LiveKit server is not ready."
    if not is_claimed(context, room, access):
        return None  # a room of somebody without a resource
    remember_claim(context, room)
    if not access.rooms.listed:
        # Each of its rooms would wait for the answer, and hold up those of other servers.
        return "The LiveKit server does not answer."
    try:
        if not await delete_room(access, build.room_name(room), room.last.sid):
            return "The LiveKit server goes on with the room, which its Redis has forgotten."
    except (ServerUnreachable, ServerRefused) as error:
        if not isinstance(error, RoomUnanswered) or access.rooms.get(build.room_name(room)) is not None:
            return f"The LiveKit server does not delete the room: {error}."
        # It is not listed, and nobody answers for it: it is gone.
    access.rooms.remove(build.room_name(room))
    return None
