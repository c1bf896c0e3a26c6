"""Who refers to whom, kept up as resources come and go, so that a change wakes only whom it concerns."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from livekit_operator.engine.cache import Key, Manifest

Link = tuple[str, Any]


class Users:
    """Links from servers, rooms on servers and pools to the resources that refer to them."""

    def __init__(self) -> None:
        self._users: defaultdict[Link, set[tuple[str, Key]]] = defaultdict(set)
        self._links: dict[tuple[str, Key], tuple[Link, ...]] = {}

    def put(self, kind: str, key: Key, references: Iterable[Link]) -> None:
        """Take over the references of a resource."""
        user, links = (kind, key), tuple(references)
        if self._links.get(user, ()) == links:
            return
        self.remove(kind, key)
        self._links[user] = links
        for link in links:
            self._users[link].add(user)

    def remove(self, kind: str, key: Key) -> None:
        """Forget the references of a resource."""
        user = (kind, key)
        for link in self._links.pop(user, ()):
            self._users[link].discard(user)
            if not self._users[link]:
                del self._users[link]

    def of_server(self, server: Key) -> list[tuple[str, Key]]:
        """Return (kind, key) of everything that refers to a server."""
        return sorted(self._users.get(("server", server), ()))

    def pools_of(self, server: Key) -> list[Key]:
        """Return the VoiceAgentPools that refer to a server, without going through its thousands of rooms."""
        return sorted(key for _, key in self._users.get(("pools of", server), ()))

    def of_room(self, server: Key, name: str) -> list[Key]:
        """Return the MeetingRooms of a room on a server."""
        return sorted(key for _, key in self._users.get(("room", (server, name)), ()))

    def with_prefix(self, server: Key) -> list[Key]:
        """Return the pools that serve rooms of a server by prefix."""
        return sorted(key for _, key in self._users.get(("prefix", server), ()))

    def of_pool(self, pool: Key) -> list[Key]:
        """Return the MeetingRooms that a pool serves, or may serve because they name none."""
        named, unnamed = self._users.get(("pool", pool), set()), self._users.get(("any pool", pool[0]), set())
        return sorted(key for _, key in named | unnamed)


def server_of(manifest: Manifest) -> Key | None:
    """Return the LiveKitServer that a resource's `spec.serverRef` names.

    Read without parsing the whole resource: this happens at each of its events.
    """
    reference = (manifest.get("spec") or {}).get("serverRef")
    if not reference or not reference.get("name"):  # one of other CRDs may have none
        return None
    return reference.get("namespace") or manifest["metadata"]["namespace"], reference["name"]


def ready_facts(manifest: Manifest) -> list[tuple[str, str]]:
    """Return what the condition `Ready` says, as far as others depend on it."""
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    return [(one["status"], one["reason"]) for one in conditions if one["type"] == "Ready"]


# The queue of rooms that no resource declares. Their keys contain a `/`, which no resource's key can.
UNDECLARED_ROOM = "UndeclaredRoom"


def undeclared_room(server: Key, name: str) -> Key:
    """Return the key of a room that no MeetingRoom declares."""
    return "/".join(server), name


def is_undeclared(room: Key) -> bool:
    """Return whether a key is of a room that no MeetingRoom declares."""
    return "/" in room[0]
