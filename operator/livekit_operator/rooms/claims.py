"""Whose a room is: claims of MeetingRooms, proven by the server's key, and which of several resources has one."""

import hmac

from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.constants import ANNOTATION_CLAIM, ROOM_FINALIZER
from livekit_operator.engine.cache import Key, key_of
from livekit_operator.moments import parse_timestamp
from livekit_operator.reconciling.finalizers import add_finalizer, remove_finalizer
from livekit_operator.reconciling.references import target
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions import settings as build
from livekit_operator.servers.links import to_room
from livekit_operator.servers.memory import ServerAccess


def is_claimed(context: Context, room: MeetingRoom, access: ServerAccess) -> bool:
    """Return whether the room of this name is this resource's, whoever is in it now.

    A claim is put on a resource before its room is created. Neither a finalizer nor a status is one: others may write
    both. Rooms from before there were claims have the finalizer, and a creation time, which nobody can choose.
    """
    own = (room.metadata.uid, build.room_name(room))
    text = room.metadata.annotations.get(ANNOTATION_CLAIM, "").encode()
    claims = (build.claim(room, key.secret).encode() for key in access.accepted) if text else ()
    claimed = context.claims.get(room.key) == own or any(hmac.compare_digest(text, claim) for claim in claims)
    return claimed or _is_of_before(room, access)


def remember_claim(context: Context, room: MeetingRoom) -> None:
    """Remember that a room is this resource's, should somebody take its claim off."""
    context.claims[room.key] = room.metadata.uid, build.room_name(room)


def _is_of_before(room: MeetingRoom, access: ServerAccess) -> bool:
    created = parse_timestamp(room.metadata.creation_timestamp) if room.metadata.creation_timestamp else None
    if created is None or access.claims_since is None or ROOM_FINALIZER not in room.metadata.finalizers:
        return False
    return ANNOTATION_CLAIM not in room.metadata.annotations and created <= access.claims_since


async def claim(context: Context, room: MeetingRoom, access: ServerAccess, *, claimed: bool) -> bool:
    """Claim the room of this name for this resource, and keep the resource until that room is deleted.

    Returns whether that was to be written.
    """
    if claimed and _is_of_before(room, access):
        return False
    annotations = {ANNOTATION_CLAIM: build.claim(room, access.keys.api_secret)}
    written = await add_finalizer(context, room, ROOM_FINALIZER, annotations)
    remember_claim(context, room)
    return written


async def unclaim(context: Context, room: MeetingRoom) -> None:
    """Remove claim and finalizer, of the resource as it is now: it must not delete the room."""
    context.claims.pop(room.key, None)
    manifest = context.resources["MeetingRoom"].get(room.key)
    if manifest is not None:
        known = MeetingRoom.model_validate(manifest)
        await remove_finalizer(context, known, ROOM_FINALIZER, {ANNOTATION_CLAIM: None})


def holder_of(context: Context, room: MeetingRoom, *, everywhere: bool = False) -> Key:
    """Return the oldest of the namespace's MeetingRooms of this room on the server, or of all with `everywhere`.

    Two with other settings would take turns.
    """
    keys = context.users.keys_of(to_room(target(room, room.spec.server_ref), build.room_name(room)))
    if not everywhere:
        keys = [key for key in keys if key[0] == room.metadata.namespace]
    known = [manifest for key in keys if (manifest := context.resources["MeetingRoom"].get(key))]
    created = {key_of(manifest): manifest["metadata"].get("creationTimestamp") or "" for manifest in known}
    created.setdefault(room.key, room.metadata.creation_timestamp or "")
    return min(created, key=lambda key: (created[key], key))
