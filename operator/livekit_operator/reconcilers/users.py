"""Who refers to whom, kept up as resources come and go, so that a change wakes only whom it concerns."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.engine.cache import Key, Manifest, key_of
from livekit_operator.resources.meetingroom import room_name

Link = tuple[str, Any]


class Users:
    """Links from servers, rooms on servers and pools to the resources that refer to them."""

    def __init__(self) -> None:
        self._users: defaultdict[Link, set[tuple[str, Key]]] = defaultdict(set)
        self._links: dict[tuple[str, Key], tuple[Link, ...]] = {}

    def put(self, kind: str, manifest: Manifest) -> None:
        """Take over the references of a resource."""
        user = (kind, key_of(manifest))
        links = tuple(_links(kind, manifest))
        if self._links.get(user, ()) == links:
            return
        self.remove(kind, user[1])
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

    def of_room(self, server: Key, name: str) -> list[Key]:
        """Return the MeetingRooms of a room on a server."""
        return sorted(key for _, key in self._users.get(("room", (server, name)), ()))

    def of_pool(self, pool: Key) -> list[Key]:
        """Return the MeetingRooms that a pool serves."""
        return sorted(key for _, key in self._users.get(("pool", pool), ()))


def _links(kind: str, manifest: Manifest) -> Iterable[Link]:
    namespace, spec = manifest["metadata"]["namespace"], manifest.get("spec") or {}
    reference = spec.get("serverRef")
    if not reference:
        return
    server = (reference.get("namespace") or namespace, reference["name"])
    yield "server", server
    if kind != "MeetingRoom":
        return
    try:
        yield "room", (server, room_name(MeetingRoom.model_validate(manifest)))
    except ValidationError:
        return  # operator and CRD are of different versions: its own pass says so
    for agent in spec.get("agents") or ():
        pool = agent["poolRef"]
        yield "pool", (pool.get("namespace") or namespace, pool["name"])
