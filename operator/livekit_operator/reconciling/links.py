"""Who refers to whom, kept up as resources come and go, so that a change wakes only whom it concerns."""

from collections import defaultdict
from collections.abc import Hashable, Iterable

from livekit_operator.engine.cache import Key, Manifest

Link = tuple[str, Hashable]
"""What a resource refers to: in what sense, and to which. Each kind makes its own (`links.py`); here it is opaque."""


class Users:
    """Links to the resources that have them."""

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

    def of(self, *links: Link) -> list[tuple[str, Key]]:
        """Return (kind, key) of everything that has one of these links."""
        return sorted({user for link in links for user in self._users.get(link, ())})

    def keys_of(self, *links: Link) -> list[Key]:
        """Return the keys of everything that has one of these links, which only one kind has."""
        return [key for _, key in self.of(*links)]


def ready_facts(manifest: Manifest) -> list[tuple[str, str]]:
    """Return what the condition `Ready` says, as far as others depend on it."""
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    return [(one.get("status", ""), one.get("reason", "")) for one in conditions if one.get("type") == "Ready"]
