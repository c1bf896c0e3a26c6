"""The room of a MeetingRoom on its server, as planned: found, created, re-created, and ended."""

from dataclasses import replace

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.errors import Blocked, Problem, ServerRefused, ServerUnreachable
from livekit_operator.reconciling import status
from livekit_operator.rooms.claims import is_claimed
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decide import Plan
from livekit_operator.rooms.decisions import settings as build
from livekit_operator.rooms.decisions.lifecycle import OpenRoom, foreign, made_room, seems_closed
from livekit_operator.rooms.forgotten import delete_room
from livekit_operator.rooms.observe import Observation
from livekit_operator.servers.memory import ServerAccess
from livekit_operator.views import RoomSettings, RoomView, remembered

# A room that was just deleted is gone within this time; until then the server returns it again (livekit#4726).
_RECREATE_RETRY_SECONDS = 1.0
_HELD = "the server has not let go of it yet"


async def find_unlisted(context: Context, room: MeetingRoom, access: ServerAccess) -> None:
    """Have a room listed that the server has and does not list: its Redis may have forgotten it.

    Only CreateRoom shows it, which creates another room when the server has none.
    """
    settings, sid = build.room_settings(room), room.last.sid or ""
    if not seems_closed(room, access.rooms.get(settings.name)) or access.rooms.is_closed(settings.name, sid):
        return
    if not is_claimed(context, room, access):
        return
    try:
        view = await access.client.create_room(settings)
    except ServerRefused:
        return
    if view.sid == sid:
        access.rooms.put_unlisted(view)
        return
    await access.client.delete_room(settings.name)


async def end(context: Context, room: MeetingRoom, why: str) -> None:
    """Delete the resource of a room that is over; room and Secrets go with it."""
    await status.emit(context, room, "Normal", reasons.ROOM_ENDED, why)
    await context.kubernetes.delete("MeetingRoom", *room.key, uid=room.metadata.uid)


async def open_room(room: MeetingRoom, observed: Observation, plan: Plan) -> OpenRoom:
    """Return the room as planned: kept, created, or deleted and created again.

    Raises Blocked while the server returns the deleted room, and when somebody else's appeared meanwhile.
    """
    if plan.keep and plan.unchanged:
        return plan.keep
    settings, access, opened = build.room_settings(room), observed.access, plan.keep
    # One that was deleted before may only have been forgotten: Redis knew nothing of it.
    if plan.delete or (plan.former and access.shared and observed.view is None):
        gone = await delete_room(access, settings.name, plan.former)
        access.rooms.remove(settings.name)
        if not gone:
            raise _recreating(settings, _HELD)
    if opened is None:
        opened = made_room(room, await _create(access, settings, plan.former), settings)
        if opened.differs(settings) or opened.view.participants:
            # Created by others since the last listing: a fresh one is empty and as it was asked for.
            access.rooms.put(opened.view)
            if problem := foreign(room, opened.view, claimed=observed.claimed):
                raise Blocked(problem)
    view = opened.view
    kept = remembered(settings.metadata)
    if room.spec.metadata is not None and view.settings.metadata != kept:
        # A listing may still show a room that Redis has forgotten since, and its metadata can wait for the next one.
        same = observed.view is None and view.sid == room.last.sid
        if access.shared and (same or access.rooms.is_unlisted(view.name)):
            await access.client.recall_room(settings.name)
        await access.client.update_metadata(settings.name, settings.metadata)
        view = replace(view, settings=replace(view.settings, metadata=kept))
    if observed.view is None and view.sid == room.last.sid:
        access.rooms.put_unlisted(view)
    elif not access.rooms.is_unlisted(view.name):
        access.rooms.put(view)
    return replace(opened, view=view)


async def _create(access: ServerAccess, settings: RoomSettings, former: str | None) -> RoomView:
    """Create a room; raises Blocked when one with the id `former` was deleted for it, and it cannot be created yet."""
    why = _HELD
    try:
        view = await access.client.create_room(settings)
    except ServerUnreachable as error:
        if former is None:
            raise
        why = str(error)
    else:
        if view.sid != former:
            return view
    raise _recreating(settings, why)


def _recreating(settings: RoomSettings, why: str) -> Blocked:
    message = f"Room {settings.name} was deleted to be made anew: {why}."
    return Blocked(Problem(reasons.RECREATING, message, retry_after=_RECREATE_RETRY_SECONDS))
