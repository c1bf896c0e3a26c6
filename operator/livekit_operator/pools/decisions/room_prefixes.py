"""Which pool serves a room that no MeetingRoom declares, by how its name begins: a pure decision.

    a pool of the server's own namespace  -> names that begin with its prefix and hold no `/`
    a pool of another namespace           -> names that begin with `<namespace>/<prefix>`
    more than one                         -> the longest prefix; of two equal ones the older pool's

A name with a `/` may belong to another namespace (manifests/metadata.py qualified_name): whoever could serve it would
listen to that namespace's calls.
"""

from collections.abc import Iterable
from dataclasses import dataclass

Key = tuple[str, str]


@dataclass(frozen=True)
class Prefix:
    """A pool and its prefix as written; `created` is when the pool was, in a form that sorts."""

    pool: Key
    text: str
    created: str

    def covers(self, room: str, server_namespace: str) -> bool:
        """Return whether a room of this name on the server is one of the pool's."""
        namespace = self.pool[0]
        if namespace == server_namespace:
            return "/" not in room and room.startswith(self.text)
        return room.startswith(f"{namespace}/{self.text}")


def serving_pool(room: str, server_namespace: str, prefixes: Iterable[Prefix]) -> Key | None:
    """Return the pool that serves a room, None when there is none."""
    found = [prefix for prefix in prefixes if prefix.covers(room, server_namespace)]
    return min(found, key=_rank).pool if found else None


def preferred(own: Prefix, prefixes: Iterable[Prefix]) -> tuple[Key | None, list[Prefix]]:
    """Return which other pool of the server gets all the rooms of this one, if any, and which get some of them."""
    others = [other for other in prefixes if other.pool != own.pool and other.pool[0] == own.pool[0]]
    same = [other for other in others if other.text == own.text and _rank(other) < _rank(own)]
    longer = [other for other in others if other.text != own.text and other.text.startswith(own.text)]
    return (min(same, key=_rank).pool if same else None), sorted(longer, key=lambda other: (other.text, other.pool))


def _rank(prefix: Prefix) -> tuple[int, str, Key]:
    return -len(prefix.text), prefix.created, prefix.pool
