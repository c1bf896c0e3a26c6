"""The room of a MeetingRoom on its server: created, re-created, adopted, and ended."""

import hmac
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.conditions import find
from livekit_operator.constants import ANNOTATION_CLAIM, ANNOTATION_RECREATE, CONDITION_READY, ROOM_FINALIZER
from livekit_operator.engine.cache import Key, key_of
from livekit_operator.errors import Blocked, Problem, ServerRefused, ServerUnreachable
from livekit_operator.moments import parse_timestamp
from livekit_operator.reconciling import status
from livekit_operator.reconciling.finalizers import add_finalizer, remove_finalizer
from livekit_operator.reconciling.references import target
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions import settings as build
from livekit_operator.servers.memory import ServerAccess
from livekit_operator.views import ParticipantView, RoomSettings, RoomView, remembered

# A room that was just deleted is gone within this time; until then the server returns it again (livekit#4726).
_RECREATE_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class OpenRoom:
    """A room on its server, and the digest of what it was created with: None when somebody else created it."""

    view: RoomView
    made_with: str | None

    def differs(self, wanted: RoomSettings) -> bool:
        """Return whether the room would have to be re-created to be as wanted."""
        return build.differs(self.view.settings, wanted, self.made_with)


class RememberingClient:
    """A client that remembers the participants it listed, so that nobody has to list them again."""

    def __init__(self, client: LiveKit) -> None:
        self._client = client
        self.participants: list[ParticipantView] = []

    async def list_participants(self, room: str) -> list[ParticipantView]:
        """Return everybody in a room."""
        self.participants = await self._client.list_participants(room)
        return self.participants

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    @property
    def client(self) -> LiveKit:
        """Return this as the client that it stands in for."""
        return cast(LiveKit, self)


def is_claimed(context: Context, room: MeetingRoom, access: ServerAccess) -> bool:
    """Return whether the room of this name is this resource's, whoever is in it now.

    A claim is put on a resource before its room is created. Neither a finalizer nor a status is one: others may write
    both. Rooms from before there were claims have the finalizer, and a creation time, which nobody can choose.
    """
    own = (room.metadata.uid, build.room_name(room))
    text = room.metadata.annotations.get(ANNOTATION_CLAIM, "").encode()
    claims = (build.claim(room, key.secret).encode() for key in access.accepted) if text else ()
    claimed = context.claims.get(room.key) == own or any(hmac.compare_digest(text, claim) for claim in claims)
    if claimed or _is_of_before(room, access):
        context.claims[room.key] = own
        return True
    return False


def _is_of_before(room: MeetingRoom, access: ServerAccess) -> bool:
    created = parse_timestamp(room.metadata.creation_timestamp) if room.metadata.creation_timestamp else None
    if created is None or access.claims_since is None or ROOM_FINALIZER not in room.metadata.finalizers:
        return False
    return ANNOTATION_CLAIM not in room.metadata.annotations and created <= access.claims_since


async def claim(context: Context, room: MeetingRoom, access: ServerAccess, *, claimed: bool) -> None:
    """Claim the room of this name for this resource, and keep the resource until that room is deleted."""
    if claimed and _is_of_before(room, access):
        return
    annotations = {ANNOTATION_CLAIM: build.claim(room, access.keys.api_secret)}
    await add_finalizer(context, room, ROOM_FINALIZER, annotations)
    context.claims[room.key] = room.metadata.uid, build.room_name(room)


async def unclaim(context: Context, room: MeetingRoom) -> None:
    """Remove claim and finalizer, of the resource as it is now: it must not delete the room."""
    context.claims.pop(room.key, None)
    manifest = context.resources["MeetingRoom"].get(room.key)
    if manifest is not None:
        known = MeetingRoom.model_validate(manifest)
        await remove_finalizer(context, known, ROOM_FINALIZER, {ANNOTATION_CLAIM: None})


def check_foreign(room: MeetingRoom, listed: RoomView | None, *, claimed: bool) -> None:
    """Raise Blocked when the server has a room of this name that is not this resource's."""
    if listed is None or claimed or room.spec.adopt:
        return
    raise Blocked(
        Problem(
            reasons.ROOM_EXISTS,
            f"The server has a room {listed.name} already, which this resource has not made; it is left untouched. "
            f"Take it over by spec.adopt, or choose another roomName.",
        )
    )


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


async def ended(room: MeetingRoom, access: ServerAccess, now: datetime) -> str | None:
    """Return why a room is over, in words: it was closed and is not to be reopened, or was empty for too long."""
    name = build.room_name(room)
    view, sid = access.rooms.get(name), room.status.get("sid")
    if view is None:
        if not sid or room.spec.persistent or _is_recreating(room) or await _lives_on(room, access):
            return None
        return "The server closed the room."
    moment = ends_at(room, room.status.get("emptySince"))
    if view.participants or view.sid != sid or moment is None or now < moment:
        return None
    if any(participant.agent_name is None for participant in await access.client.list_participants(name)):
        access.rooms.dirty.add(name)
        return None
    return f"Nobody was in the room for {room.spec.ttl_seconds_after_empty} s."


async def _lives_on(room: MeetingRoom, access: ServerAccess) -> bool:
    """Return whether the server has a room that it does not list: its Redis may have forgotten it.

    Only CreateRoom shows it, which creates another room when the server has none.
    """
    settings = build.room_settings(room)
    if access.rooms.is_closed(settings.name, room.status["sid"]):
        return False
    try:
        view = await access.client.create_room(settings)
    except ServerRefused:
        return False
    if view.sid == room.status["sid"]:
        access.rooms.put_unlisted(view)
        return True
    await access.client.delete_room(settings.name)
    return False


async def end(context: Context, room: MeetingRoom, why: str) -> None:
    """Delete the resource of a room that is over; room and Secrets go with it."""
    await status.emit(context, room, "Normal", reasons.ROOM_ENDED, why)
    await context.kubernetes.delete("MeetingRoom", *room.key, uid=room.metadata.uid)


async def ensure_room(room: MeetingRoom, access: ServerAccess, *, claimed: bool) -> OpenRoom:
    """Return the room: created if the server has none, re-created if an empty one has other settings or people ask.

    Raises Blocked while the server returns the deleted room, and when somebody else's appeared meanwhile.
    """
    settings = build.room_settings(room)
    opened, listed = _known(room, access, settings), access.rooms.get(settings.name)
    former = room.status.get("sid") if _is_recreating(room) else None
    if opened and await _is_outdated(room, access, opened, settings):
        await access.client.delete_room(settings.name)
        access.rooms.remove(settings.name)
        former = opened.view.sid
        opened = None
    if opened is None:
        opened = _made(room, await _create(access, settings, former), settings)
        if opened.differs(settings) or opened.view.participants:
            # Created by others since the last listing: a fresh one is empty and as it was asked for.
            access.rooms.put(opened.view)
            check_foreign(room, opened.view, claimed=claimed)
    view = opened.view
    kept = remembered(settings.metadata)
    if room.spec.metadata is not None and view.settings.metadata != kept:
        await access.client.update_metadata(settings.name, settings.metadata)
        view = replace(view, settings=replace(view.settings, metadata=kept))
    if listed is None and view.sid == room.status.get("sid"):
        access.rooms.put_unlisted(view)
    elif not access.rooms.is_unlisted(view.name):
        access.rooms.put(view)
    return replace(opened, view=view)


async def _create(access: ServerAccess, settings: RoomSettings, former: str | None) -> RoomView:
    """Create a room; raises Blocked when one with the id `former` was deleted for it, and it cannot be created yet."""
    why = "the server has not let go of it yet"
    try:
        view = await access.client.create_room(settings)
    except ServerUnreachable as error:
        if former is None:
            raise
        why = str(error)
    else:
        if view.sid != former:
            return view
    message = f"Room {settings.name} was deleted to be made anew: {why}."
    raise Blocked(Problem(reasons.RECREATING, message, retry_after=_RECREATE_RETRY_SECONDS))


def opened_room(room: MeetingRoom, view: RoomView) -> OpenRoom:
    """Return an existing room, as it is."""
    return OpenRoom(view, room.status.get("settingsHash") if view.sid == room.status.get("sid") else None)


def recreate_asked(room: MeetingRoom) -> str | None:
    """Return the value of the annotation that asks to re-create the room, None when there is none."""
    return room.metadata.annotations.get(ANNOTATION_RECREATE)


def _known(room: MeetingRoom, access: ServerAccess, settings: RoomSettings) -> OpenRoom | None:
    """Return the room as listed, None for one that does not exist or that may be lost."""
    view = None if settings.name in access.rooms.unverified else access.rooms.get(settings.name)
    return opened_room(room, view) if view else None


def _made(room: MeetingRoom, view: RoomView, settings: RoomSettings) -> OpenRoom:
    # The same room as before, found by another server or never lost: its digest stays.
    same = view.sid == room.status.get("sid")
    return OpenRoom(view, room.status.get("settingsHash") if same else build.settings_hash(settings))


async def _is_outdated(room: MeetingRoom, access: ServerAccess, opened: OpenRoom, settings: RoomSettings) -> bool:
    """Return whether to re-create a room now: people ask for it, or it has other settings and is empty."""
    asked = recreate_asked(room)
    if asked and asked != room.status.get("lastHandledRecreate") and opened.view.sid == room.status.get("sid"):
        return True
    if not opened.differs(settings) or opened.view.participants:
        return False
    # An agent that waits in an empty room does not keep it: it is asked for again in the new one.
    return all(p.agent_name is not None for p in await access.client.list_participants(settings.name))


def _is_recreating(room: MeetingRoom) -> bool:
    """Return whether the room was deleted to be made anew and the server did not let go of it."""
    return bool(find(room.status.get("conditions"), CONDITION_READY).get("reason") == reasons.RECREATING)


def holder_of(context: Context, room: MeetingRoom, *, everywhere: bool = False) -> Key:
    """Return the oldest of the namespace's MeetingRooms of this room on the server, or of all with `everywhere`.

    Two with other settings would take turns.
    """
    keys = context.users.of_room(target(room, room.spec.server_ref), build.room_name(room))
    if not everywhere:
        keys = [key for key in keys if key[0] == room.metadata.namespace]
    known = [manifest for key in keys if (manifest := context.resources["MeetingRoom"].get(key))]
    created = {key_of(manifest): manifest["metadata"].get("creationTimestamp") or "" for manifest in known}
    created.setdefault(room.key, room.metadata.creation_timestamp or "")
    return min(created, key=lambda key: (created[key], key))
