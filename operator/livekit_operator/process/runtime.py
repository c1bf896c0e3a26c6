"""The running operator without a framework: caches, reflectors, controllers, and who wakes whom.

Tests and benchmarks run it against a real API server without kopf.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from livekit_operator.clients.kubernetes import Kubernetes
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.clients.server_load import ServerLoads
from livekit_operator.clients.worker import Worker
from livekit_operator.constants import GROUP, MANAGED_SELECTOR
from livekit_operator.engine.cache import Key, Manifest, ObjectCache, key_of, owner_of
from livekit_operator.engine.controller import Controller
from livekit_operator.engine.reflector import Reflector
from livekit_operator.errors import KubernetesError, NotFound
from livekit_operator.metrics import Metrics
from livekit_operator.process.wiring import (
    TABLE,
    Row,
    child_kinds,
    make_metrics,
    own_facts,
    public_facts,
    resource_kinds,
    run_pass,
    take_in,
)
from livekit_operator.reconciling.forgetting import forget_old
from livekit_operator.reconciling.kept import ChildKeeper, Keeper, Room, Strangers, memory_bytes
from livekit_operator.rooms.context import Context
from livekit_operator.servers import memory as servers_memory
from livekit_operator.settings import Settings

logger = logging.getLogger(__name__)

# A server that does not answer keeps others waiting for this long.
_SERVERS_FIRST_SECONDS = 5.0

# While the caches fill: more would only hold more of the answers at once.
_LISTINGS_AT_ONCE = 2

# More than a clock is corrected by little by little; far less than what is left of a token when it is due.
_CLOCK_MOVED_SECONDS = 5.0


class Runtime:
    """Everything that runs between a change in the cluster and the answer to it."""

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
        self._table = table
        room = Room(memory_bytes() if memory is None else memory)
        resources: dict[str, ObjectCache] = {}
        self._strangers = Strangers(resources)
        for kind in resource_kinds(table):
            keeper = Keeper(kind, room)
            resources[kind] = ObjectCache(self._resource_listener(kind), keeper.keep, keeper.forget)
        children = {kind: ChildKeeper(kind, room, self._strangers) for kind in child_kinds(table)}
        self.context = Context(
            kubernetes,
            worker,
            loads,
            connect,
            settings,
            metrics,
            self._wake,
            resources=resources,
            children={
                kind: ObjectCache(keep=child.keep, forget=child.forget, left_out=child)
                for kind, child in children.items()
            },
        )
        make_metrics(table, metrics)
        self._controllers = {kind: self._controller(row) for kind, row in table.items()}
        self._resources = [
            # The caches of resources tell of changes themselves: others must also hear of a status that we wrote.
            Reflector(
                kubernetes, kind, self.context.resources[kind], lambda _: None, on_missed=partial(self._missed, kind)
            )
            for kind in resources
        ]
        self._children = [
            Reflector(kubernetes, kind, self.context.children[kind], self._child_changed, MANAGED_SELECTOR)
            for kind in children
        ]
        self._children.append(Reflector(kubernetes, "Node", self.context.nodes, self._node_changed))
        self._nodes: dict[tuple[str, Key], Any] = {}
        self._public: dict[tuple[str, Key], Any] = {}
        self._own: dict[tuple[str, Key], Any] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._starting: asyncio.Task[None] | None = None
        self._visits: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.ready = False

    def begin(self) -> None:
        """Start without waiting for it: caches fill slowly in a large cluster, and probes are answered meanwhile."""
        self._starting = self._task(self.start())

    async def start(self) -> None:
        """Fill the caches, however long that takes, then begin to work."""
        turn = asyncio.Semaphore(_LISTINGS_AT_ONCE)
        for reflectors in (self._resources, self._children):  # owners before what they own
            async with asyncio.TaskGroup() as group:
                for reflector in reflectors:
                    group.create_task(reflector.fill(turn))
        self._run(*(reflector.run() for reflector in [*self._children, *self._resources]), self._follow_clock())
        first = [self._controllers[row.name] for row in self._table.values() if row.first]
        self._run(*(controller.run() for controller in first))
        # Pools and rooms can do nothing before their server was looked at, and ten thousand would look for it in vain.
        with suppress(TimeoutError):
            async with asyncio.timeout(_SERVERS_FIRST_SECONDS):
                for controller in first:
                    await controller.first_passes()
        self._run(*(controller.run() for controller in self._controllers.values() if controller not in first))
        self.ready = True

    def _run(self, *parts: Coroutine[Any, Any, None]) -> None:
        self._tasks += [self._task(part) for part in parts]

    def _task(self, part: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(part, name=getattr(part, "__qualname__", None))
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Say why a part has ended: nobody waits for it, and the process ends for it."""
        if self._stopping or (task is self._starting and not task.cancelled() and task.exception() is None):
            return
        cause = asyncio.CancelledError() if task.cancelled() else task.exception()
        logger.critical("a part of the operator has ended: %s: %r", task.get_name(), cause, exc_info=cause)

    async def stop(self) -> None:
        """End all work and close the connections."""
        self.ready, self._stopping = False, True
        tasks = [*self._tasks, *self._visits, *([self._starting] if self._starting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._starting, self._stopping = None, False
        await servers_memory.close(self.context)

    @property
    def alive(self) -> bool:
        """Return whether every part still runs."""
        return self.ready and not self.failed

    @property
    def failed(self) -> bool:
        """Return whether a part has ended, or the start has before all was there."""
        started = self._starting is not None and self._starting.done() and not self.ready
        return started or any(task.done() for task in self._tasks)

    def _controller(self, row: Row) -> Controller:
        return Controller(
            row.name,
            lambda key: run_pass(self.context, row, key),
            self.context.metrics,
            self.context.settings.workers,
            lambda key: row.line_of(self.context, row.name, key),
        )

    def _wake(self, kind: str, key: Key) -> None:
        self._controllers[kind].queue.add(key)

    def _resource_listener(self, kind: str) -> Callable[[Manifest], None]:
        return lambda manifest: self._resource_changed(kind, manifest)

    def _resource_changed(self, kind: str, manifest: Manifest) -> None:
        key, ident = key_of(manifest), (kind, key_of(manifest))
        known = take_in(self.context, self._table[kind], manifest)
        if known is None:
            self._controllers[kind].queue.drop(key)
        self.context.metrics.objects.labels(kind).set(len(self.context.resources[kind]))
        # Our own status write comes back as an event: it is no reason to look at the object again.
        before = self._own.get(ident)
        if _turned(self._own, ident, own_facts(known)):
            left = self._strangers.pop(key) if known and (not before or before[0] != known["metadata"]["uid"]) else []
            if left:
                self._visits.add(visit := asyncio.create_task(self._look_at_strangers(kind, key, left)))
                visit.add_done_callback(self._visits.discard)
            else:
                self._wake(kind, key)
        if _turned(self._public, ident, public_facts(self._table[kind], known)):
            self._table[kind].wake_users(self.context, key)

    def _missed(self, kind: str, manifest: Manifest) -> None:
        """Have a resource looked at, and those that refer to it, whatever it was like before.

        After the store was put back a status may be an old one, and nothing else differ.
        """
        key = key_of(manifest)
        self._wake(kind, key)
        self._table[kind].wake_users(self.context, key)

    async def _look_at_strangers(self, kind: str, key: Key, left: list[tuple[str, Key]]) -> None:
        """Take in what names a resource that has just come, as a former one left it, and only then look at that."""
        for child, name in left:
            try:
                self.context.children[child].put(await self.context.kubernetes.get(child, *name))
            except NotFound:
                continue
            except KubernetesError as error:
                logger.warning("%s %s/%s is not looked at: %s", child, *name, error)
        self._wake(kind, key)

    def _child_changed(self, manifest: Manifest) -> None:
        owner = owner_of(manifest)
        if owner and owner.group == GROUP and owner.kind in self.context.resources:
            self._wake(owner.kind, (owner.namespace, owner.name))

    def _node_changed(self, manifest: Manifest) -> None:
        """Have those looked at that use nodes when one is to be emptied, is lost, or has other labels."""
        known = self.context.nodes.get(key_of(manifest))
        facts = (known["metadata"]["labels"], known["spec"], known["ready"]) if known else None
        if _turned(self._nodes, ("Node", key_of(manifest)), facts):
            for kind in [row.name for row in self._table.values() if row.uses_nodes]:
                for resource in self.context.resources[kind]:
                    self._wake(kind, key_of(resource))

    async def _follow_clock(self) -> None:
        """Have everything looked at when the clock was moved, or the machine slept: timers know nothing of either."""
        before = self._clock_ahead()
        while True:
            await asyncio.sleep(self.context.settings.clock_look_seconds)
            forget_old(self.context)
            ahead = self._clock_ahead()
            if abs(ahead - before) > _CLOCK_MOVED_SECONDS:
                logger.warning("the clock was moved by %.0f s", ahead - before)
                for kind, cache in self.context.resources.items():
                    for resource in cache:
                        self._wake(kind, key_of(resource))
            before = ahead

    def _clock_ahead(self) -> float:
        """Return how far the clock is ahead, in seconds, of the one that timers go by."""
        return self.context.now().timestamp() - asyncio.get_running_loop().time()


def _turned(facts: dict[tuple[str, Key], Any], ident: tuple[str, Key], now: Any) -> bool:
    """Remember facts of an object and return whether they are others than before."""
    if now is None:
        return facts.pop(ident, None) is not None
    before = facts.get(ident)
    facts[ident] = now
    return bool(before != now)
