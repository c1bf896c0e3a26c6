"""The running operator without a framework, in three groups: web answers, caches follow the cluster, the leader works.

They start in this order and stop in the reverse one, as controller-runtime's runnable groups do
(sigs.k8s.io/controller-runtime pkg/manager/runnable_group.go, internal.go): probes are answered while the caches fill,
no pass sees half of the cluster, and nothing is woken by what can no longer work. Web and caches go on while the leader
stops and starts again. Tests and benchmarks run it against a real API server without kopf.
"""

import asyncio
from collections.abc import Callable, Mapping

from livekit_operator.clients.kubernetes import Kubernetes
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.clients.server_load import ServerLoads
from livekit_operator.clients.worker import Worker
from livekit_operator.engine.cache import Key, ObjectCache
from livekit_operator.metrics import Metrics
from livekit_operator.process.caches import Caches
from livekit_operator.process.groups import tell_end
from livekit_operator.process.leader import Leader
from livekit_operator.process.wiring import TABLE, Row, make_metrics
from livekit_operator.reconciling.kept import memory_bytes
from livekit_operator.rooms.context import Context
from livekit_operator.settings import Settings
from livekit_operator.web.server import HttpServer


class Runtime:
    """Everything that runs between a change in the cluster and the answer to it.

    `begin` or `start` has the caches filled and then leads; a follower starts only `web` and `caches`, and its
    `leader` starts and stops as it is told to.
    """

    def __init__(
        self,
        kubernetes: Kubernetes,
        worker: Worker,
        loads: ServerLoads,
        connect: Callable[[str, str, str], LiveKit],
        settings: Settings,
        metrics: Metrics,
        memory: float | None = None,
        table: Mapping[str, Row] = TABLE,
    ) -> None:
        def make(resources: dict[str, ObjectCache], children: dict[str, ObjectCache]) -> Context:
            return Context(
                kubernetes, worker, loads, connect, settings, metrics, self.wake, resources=resources, children=children
            )

        most = memory_bytes() if memory is None else memory
        self.caches = Caches(kubernetes, table, most, make, self)
        self.context = self.caches.context
        make_metrics(table, metrics)
        self.leader = Leader(self.context, table)
        self.web = HttpServer(self, metrics, settings.http_port)
        self._starting: asyncio.Task[None] | None = None
        self._stopping = False

    def begin(self) -> None:
        """Start without waiting for it: caches fill slowly in a large cluster, and probes are answered meanwhile."""
        self._starting = asyncio.create_task(self.start(), name="Runtime.start")
        self._starting.add_done_callback(self._started)

    async def start(self) -> None:
        """Fill the caches, however long that takes, then begin to work."""
        await self.caches.start()
        await self.leader.start()

    async def stop(self) -> None:
        """End all work, close the connections, and answer no more."""
        self._stopping = True
        if self._starting:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self.leader.stop()
        await self.caches.stop()
        await self.web.stop()
        self._starting, self._stopping = None, False

    def wake(self, kind: str, key: Key) -> None:
        """Wake a key, if this process leads."""
        self.leader.wake(kind, key)

    def drop(self, kind: str, key: Key) -> None:
        """Have the leader forget when a resource was due: it is gone."""
        self.leader.drop(kind, key)

    @property
    def ready(self) -> bool:
        """Return whether the caches are filled: whether it leads or not, it knows what there is."""
        return self.caches.filled

    @property
    def leading(self) -> bool:
        """Return whether passes run here, or are about to."""
        return self.leader.leading

    @property
    def alive(self) -> bool:
        """Return whether the caches are filled and every part that was started runs."""
        return self.ready and not self.failed

    @property
    def failed(self) -> bool:
        """Return whether a part has ended, or the start has before all was there."""
        ended = self._starting is not None and self._starting.done() and not _is_well(self._starting)
        return ended or self.caches.failed or self.leader.failed

    def _started(self, task: asyncio.Task[None]) -> None:
        if not self._stopping and not _is_well(task):
            tell_end(task)


def _is_well(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is None
