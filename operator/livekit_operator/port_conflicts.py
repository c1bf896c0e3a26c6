"""Which servers on the host network want the same ports of the same nodes: a pure decision.

The scheduler knows only single ports that a pod names, not ranges, and would leave a second server Pending without a
word of why. Here the later server is told which one has its ports.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Labels = Mapping[str, str]


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

    key: tuple[str, str]
    created: str
    ports: Sequence[PortSpan]
    node_selector: Labels


@dataclass(frozen=True)
class PortConflict:
    """The other server, and what it has that this one wants."""

    other: tuple[str, str]
    ports: PortSpan


def find_conflict(server: HostServer, others: Iterable[HostServer], nodes: Sequence[Labels]) -> PortConflict | None:
    """Return the earlier server whose ports this one wants on a node that both may run on, None when there is none.

    `nodes` are the labels of the cluster's nodes; with none known, node selectors are compared with each other.
    """
    for other in sorted(others, key=_age):
        if other.key == server.key or _age(other) > _age(server) or not _meet(server, other, nodes):
            continue
        for mine in server.ports:
            if any(mine.overlaps(theirs) for theirs in other.ports):
                return PortConflict(other.key, mine)
    return None


def _age(server: HostServer) -> tuple[str, tuple[str, str]]:
    return server.created, server.key


def _meet(one: HostServer, two: HostServer, nodes: Sequence[Labels]) -> bool:
    wanted = {**one.node_selector, **two.node_selector}
    if any(one.node_selector.get(key, value) != value for key, value in two.node_selector.items()):
        return False
    return not nodes or any(wanted.items() <= labels.items() for labels in nodes)
