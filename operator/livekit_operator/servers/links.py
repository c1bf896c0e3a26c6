"""Links to a LiveKitServer and to rooms on it, and what of a server concerns those that refer to it."""

from typing import Any

from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.reconciling.links import Link, ready_facts
from livekit_operator.servers.context import Context

# The queue of rooms that no resource declares. Their keys contain a `/`, which no resource's key can.
UNDECLARED_ROOM = "UndeclaredRoom"


def server_of(manifest: Manifest) -> Key | None:
    """Return the LiveKitServer that a resource's `spec.serverRef` names.

    Read without parsing the whole resource: this happens at each of its events.
    """
    reference = (manifest.get("spec") or {}).get("serverRef")
    if not reference or not reference.get("name"):  # one of other CRDs may have none
        return None
    return reference.get("namespace") or manifest["metadata"]["namespace"], reference["name"]


def to_server(server: Key) -> Link:
    """Return the link of everything that refers to a server."""
    return "server", server


def as_pool(server: Key) -> Link:
    """Return the link of a server's VoiceAgentPools, which are found without going through its thousands of rooms."""
    return "pools of", server


def by_name(server: Key) -> Link:
    """Return the link of the VoiceAgentPools that serve rooms of a server for their names."""
    return "prefix", server


def to_room(server: Key, name: str) -> Link:
    """Return the link of the MeetingRooms of a room on a server."""
    return "room", (server, name)


def undeclared_room(server: Key, name: str) -> Key:
    """Return the key of a room that no MeetingRoom declares."""
    return "/".join(server), name


def is_undeclared(room: Key) -> bool:
    """Return whether a key is of a room that no MeetingRoom declares."""
    return "/" in room[0]


def public_facts(manifest: Manifest) -> Any:
    """Return what pools and rooms of a server depend on: the spec says whom it allows, and its limits what it takes."""
    status, metadata = manifest.get("status") or {}, manifest["metadata"]
    return ready_facts(manifest), manifest.get("spec"), status.get("externalUrl"), metadata.get("deletionTimestamp")


def wake_users(context: Context, server: Key) -> None:
    """Wake whatever refers to a server."""
    context.wake_users(to_server(server))


def wake_room(context: Context, server: Key, name: str) -> None:
    """Wake the resources of a room on a server, or the room itself where it has none."""
    declared = context.users.of(to_room(server, name))
    for kind, key in declared:
        context.wake(kind, key)
    if not declared and context.users.of(by_name(server)):
        context.wake(UNDECLARED_ROOM, undeclared_room(server, name))
