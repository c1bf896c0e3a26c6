"""Which pods of a pool to create and which to let go: a pure decision.

Pods are owned directly, as Agones owns GameServers, because a Deployment chooses its victims itself:

    missing pods of the wanted revision   -> created, all at once, but at most SURGE above what is wanted
    pods of an older revision             -> leave as soon as ready new ones stand in for them, idle ones first
    too many pods of the wanted revision  -> only idle ones leave; a busy one stays until its calls end
    pods that finished (evicted, failed)  -> removed
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

# Share of the wanted pods that may stand above their number while versions change.
SURGE = 0.25
# Pods created in one pass, so that a wrong number cannot flood the cluster before somebody sees it.
MAX_CREATED = 20


@dataclass(frozen=True)
class PodView:
    """What deciding needs of a pod; `sessions` is what its worker said last, None before it spoke."""

    name: str
    revision: str
    ready: bool
    leaving: bool
    finished: bool
    sessions: int | None
    created: datetime

    @property
    def idle(self) -> bool:
        """Return whether no call can be on it: its worker said so last, or never spoke and is not ready for calls."""
        return self.sessions == 0 or (self.sessions is None and not self.ready)


@dataclass(frozen=True)
class Plan:
    """How many pods to create and which to delete."""

    create: int = 0
    delete: tuple[str, ...] = ()


def plan(pods: Sequence[PodView], *, desired: int, revision: str) -> Plan:
    """Return what to do now to come to `desired` ready pods of `revision` without cutting a call."""
    finished = [pod.name for pod in pods if pod.finished and not pod.leaving]
    staying = [pod for pod in pods if not pod.finished and not pod.leaving]
    current = [pod for pod in staying if pod.revision == revision]
    # A pod of an older revision that is of no use to anybody need not wait for its replacement.
    useless = [pod.name for pod in staying if pod.revision != revision and not pod.ready and pod.idle]
    older = [pod for pod in staying if pod.revision != revision and pod.name not in useless]

    missing = max(0, desired - len(current))
    room = missing if not older else max(0, desired + max(1, ceil(desired * SURGE)) - len(current) - len(older))
    create = min(missing, room, MAX_CREATED)

    serving = sum(pod.ready for pod in current) + len(older)
    replaced = _victims(older)[: max(0, serving - desired)]
    surplus = [pod for pod in _victims(current) if pod.idle][: max(0, len(current) - desired)]
    return Plan(create=create, delete=(*finished, *useless, *(pod.name for pod in (*replaced, *surplus))))


def _victims(pods: Sequence[PodView]) -> list[PodView]:
    """Return the pods in the order in which they should leave: useless, then idle, then newest first."""
    return sorted(
        pods, key=lambda pod: (pod.ready, not pod.idle, pod.sessions or 0, -pod.created.timestamp(), pod.name)
    )
