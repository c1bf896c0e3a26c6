"""What becomes of the room of a MeetingRoom: made, made anew, left as it is, or over. Pure decisions.

not this resource's, and not to be adopted  -> left untouched
closed by the server, not to be reopened    -> over, and so is the resource
nobody in it for too long                   -> over
refused as the spec now wants it            -> one that exists goes on as it is, with calls and tokens
people ask for it by the annotation         -> deleted and made anew
other settings, and nobody in it            -> deleted and made anew
anything else                               -> made, if the server does not have it
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.constants import ANNOTATION_CALL_AGENTS, ANNOTATION_RECREATE, CONDITION_READY
from livekit_operator.errors import Problem
from livekit_operator.moments import parse_timestamp
from livekit_operator.rooms.decisions import settings as build
from livekit_operator.views import ParticipantView, RoomSettings, RoomView


@dataclass(frozen=True)
class OpenRoom:
    """A room on its server, and the digest of what it was created with: None when somebody else created it."""

    view: RoomView
    made_with: str | None

    def differs(self, wanted: RoomSettings) -> bool:
        """Return whether the room would have to be re-created to be as wanted."""
        return build.differs(self.view.settings, wanted, self.made_with)


def opened_room(room: MeetingRoom, view: RoomView) -> OpenRoom:
    """Return an existing room, as it is."""
    return OpenRoom(view, room.last.settings_hash if view.sid == room.last.sid else None)


def made_room(room: MeetingRoom, view: RoomView, settings: RoomSettings) -> OpenRoom:
    """Return a room as CreateRoom answered."""
    # The same room as before, found by another server or never lost: its digest stays.
    same = view.sid == room.last.sid
    return OpenRoom(view, room.last.settings_hash if same else build.settings_hash(settings))


def foreign(room: MeetingRoom, view: RoomView | None, *, claimed: bool) -> Problem | None:
    """Return that the server has a room of this name that is not this resource's, None when it has none."""
    if view is None or claimed or room.spec.adopt:
        return None
    message = (
        f"The server has a room {view.name} already, which this resource has not made; it is left untouched. "
        f"Take it over by spec.adopt, or choose another roomName."
    )
    return Problem(reasons.ROOM_EXISTS, message)


def ends_at(room: MeetingRoom, empty_since: str | None) -> datetime | None:
    """Return when the room is to end as things stand, None when it is not."""
    ends = [parse_timestamp(room.spec.expires_at)] if room.spec.expires_at else []
    if room.spec.ttl_seconds_after_empty is not None and empty_since:
        ends.append(parse_timestamp(empty_since) + timedelta(seconds=room.spec.ttl_seconds_after_empty))
    return min(ends, default=None)


def expired(room: MeetingRoom, now: datetime) -> str | None:
    """Return that a room has expired, in words."""
    if room.spec.expires_at and now >= parse_timestamp(room.spec.expires_at):
        return f"The room was to end at {room.spec.expires_at}."
    return None


def seems_closed(room: MeetingRoom, view: RoomView | None) -> bool:
    """Return whether a room that was there is no longer listed, and is not to be made again."""
    if view is not None or not room.last.sid:
        return False
    return not (room.spec.persistent or is_recreating(room))


def was_empty_too_long(room: MeetingRoom, view: RoomView | None, now: datetime) -> bool:
    """Return whether a listed room has had its time without people, by the listing."""
    moment = ends_at(room, room.last.empty_since)
    if view is None or moment is None or view.participants or view.sid != room.last.sid:
        return False
    return now >= moment


def over(
    room: MeetingRoom, view: RoomView | None, participants: Sequence[ParticipantView], now: datetime
) -> str | None:
    """Return why a room is over, in words; `participants` are those of a room that the listing shows empty."""
    if seems_closed(room, view):
        return "The server closed the room."
    if not was_empty_too_long(room, view, now) or _people(participants):
        return None
    return f"Nobody was in the room for {room.spec.ttl_seconds_after_empty} s."


def recreate_asked(room: MeetingRoom) -> str | None:
    """Return the value of the annotation that asks to re-create the room, None when there is none."""
    return room.metadata.annotations.get(ANNOTATION_RECREATE)


def call_asked(room: MeetingRoom) -> str | None:
    """Return the value of the annotation that asks to call agents again, None when there is none."""
    return room.metadata.annotations.get(ANNOTATION_CALL_AGENTS)


def calls_agents(room: MeetingRoom) -> bool:
    """Return whether people ask that agents are called again, or that the room is made anew, which calls them too."""
    call, anew = call_asked(room), recreate_asked(room)
    return (bool(call) and call != room.last.last_handled_call) or (
        bool(anew) and anew != room.last.last_handled_recreate
    )


def is_asked_anew(room: MeetingRoom, view: RoomView) -> bool:
    """Return whether people ask to re-create this very room."""
    asked = recreate_asked(room)
    new = bool(asked) and asked != room.last.last_handled_recreate
    return new and view.sid == room.last.sid


def seems_outdated(room: MeetingRoom, view: RoomView) -> bool:
    """Return whether an empty room, by the listing, has other settings than it should."""
    return not view.participants and opened_room(room, view).differs(build.room_settings(room))


def is_outdated(room: MeetingRoom, view: RoomView, participants: Sequence[ParticipantView]) -> bool:
    """Return whether to re-create a room now: people ask for it, or it has other settings and is empty."""
    # An agent that waits in an empty room does not keep it: it is asked for again in the new one.
    return is_asked_anew(room, view) or (seems_outdated(room, view) and not _people(participants))


def is_recreating(room: MeetingRoom) -> bool:
    """Return whether the room was deleted to be made anew and the server did not let go of it."""
    return room.last.reason(CONDITION_READY) == reasons.RECREATING


def _people(participants: Sequence[ParticipantView]) -> bool:
    return any(participant.agent_name is None for participant in participants)
