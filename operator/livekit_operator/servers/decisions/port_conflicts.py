"""Which servers on the host network want the same ports of the same nodes: a pure decision.

The scheduler knows only single ports that a pod names, not ranges, and would leave a second server Pending without
saying why. Here the later server learns which one has its ports.

A server has ports when it has a pod on a node. One that has none yet takes precedence for some minutes only: a server
that never runs must not keep other people's from running.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

Labels = Mapping[str, str]
ServerKey = tuple[str, str]

# How long the earlier one of two that have no pod on a node yet takes precedence.
FIRST_FOR = timedelta(minutes=5)
# Ports are looked up by blocks of so many.
_BLOCK = 64


@dataclass(frozen=True)
class PortSpan:
    """Ports of one protocol, the last one included."""

    protocol: str
    start: int
    end: int

    def __str__(self) -> str:
        """Return the ports as people write them."""
        return f"{self.start}/{self.protocol}" if self.start == self.end else f"{self.start}-{self.end}/{self.protocol}"

    def overlaps(self, other: "PortSpan") -> bool:
        """Return whether the two have a port in common."""
        return self.protocol == other.protocol and self.start <= other.end and other.start <= self.end


@dataclass(frozen=True)
class HostServer:
    """A server on the host network: which ports it takes on which nodes, and since when it exists."""

    key: ServerKey
    created: datetime
    ports: Sequence[PortSpan]
    node_selector: Labels
    holds: bool = False
    """Whether a pod of it is on a node."""

    def counts(self, now: datetime) -> bool:
        """Return whether it takes precedence over others."""
        return self.holds or now - self.created < FIRST_FOR


@dataclass(frozen=True)
class PortConflict:
    """The other server, and what it has that this one wants."""

    other: ServerKey
    ports: PortSpan


class HostServers:
    """All servers on the host network, found by the ports they take."""

    def __init__(self) -> None:
        self._servers: dict[ServerKey, HostServer] = {}
        self._by_block: defaultdict[tuple[str, int], set[ServerKey]] = defaultdict(set)

    def put(self, server: HostServer) -> None:
        """Put a server in place of what was known of it."""
        self.remove(server.key)
        self._servers[server.key] = server
        for block in _blocks(server):
            self._by_block[block].add(server.key)

    def remove(self, key: ServerKey) -> None:
        """Forget a server."""
        server = self._servers.pop(key, None)
        for block in _blocks(server) if server else ():
            self._by_block[block].discard(key)
            if not self._by_block[block]:
                del self._by_block[block]

    def near(self, server: HostServer) -> list[HostServer]:
        """Return the other servers that may have a port in common with this one."""
        keys = {key for block in _blocks(server) for key in self._by_block.get(block, ())}
        return [self._servers[key] for key in sorted(keys - {server.key})]


def _blocks(server: HostServer) -> Iterator[tuple[str, int]]:
    for span in server.ports:
        for block in range(span.start // _BLOCK, span.end // _BLOCK + 1):
            yield span.protocol, block


def find_conflict(
    server: HostServer, others: Iterable[HostServer], nodes: Sequence[Labels], now: datetime
) -> PortConflict | None:
    """Return the server whose ports this one wants on a node that both may run on, None when there is none.

    That is one that has them, or came earlier. `nodes` are the labels of the cluster's nodes; with none known, node
    selectors are compared with each other.
    """
    for other in sorted(others, key=_order):
        if other.key == server.key or _order(other) > _order(server) or not other.counts(now):
            continue
        if not _meet(server, other, nodes):
            continue
        for mine in server.ports:
            if any(mine.overlaps(theirs) for theirs in other.ports):
                return PortConflict(other.key, mine)
    return None


def _order(server: HostServer) -> tuple[bool, datetime, ServerKey]:
    return not server.holds, server.created, server.key


def _meet(one: HostServer, two: HostServer, nodes: Sequence[Labels]) -> bool:
    wanted = {**one.node_selector, **two.node_selector}
    if any(one.node_selector.get(key, value) != value for key, value in two.node_selector.items()):
        return False
    return not nodes or any(wanted.items() <= labels.items() for labels in nodes)
