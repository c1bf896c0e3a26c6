"""The group that works: only one process at a time may have it, for all that writes is here.

A term begins and ends while caches and web go on. What wakes a key while nobody leads here is dropped, because a term
begins with a pass of every resource. Nothing that passes remember outlives their term, for somebody else may have
worked in between: connections, listings, brakes, lost calls, waiting rooms and keys are forgotten when it ends. A new
term begins as a start of the operator does, which finds all of it again in the cluster, in pods and at the servers.
Events that were told stay known: to count one of them up that another leader told meanwhile does no harm.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from livekit_operator.engine.cache import Key, key_of
from livekit_operator.engine.controller import Controller
from livekit_operator.process.groups import Group
from livekit_operator.process.wiring import Row, forget, run_pass, set_back
from livekit_operator.reconciling.forgetting import forget_old, forget_read
from livekit_operator.rooms.context import Context
from livekit_operator.servers import memory as servers_memory

logger = logging.getLogger(__name__)

# A server that does not answer keeps others waiting for this long.
_SERVERS_FIRST_SECONDS = 5.0

# More than a clock is corrected by little by little; far less than what is left of a token when it is due.
_CLOCK_MOVED_SECONDS = 5.0


class Leader:
    """Controllers and the clock. The caches must be filled while it runs."""

    def __init__(self, context: Context, table: Mapping[str, Row]) -> None:
        self.context = context
        self._table = table
        self.controllers = {kind: self._controller(row) for kind, row in table.items()}
        self._group = Group()
        self._term: object | None = None
        """None while it does not lead; another one each time that it does."""

    @property
    def leading(self) -> bool:
        """Return whether it works, or is about to."""
        return self._term is not None

    @property
    def failed(self) -> bool:
        """Return whether a part has ended by itself."""
        return self._group.failed

    def wake(self, kind: str, key: Key) -> None:
        """Make a key ready, if it leads: whoever begins to lead reconciles everything anyway."""
        if self.leading:
            self.controllers[kind].queue.add(key)

    def drop(self, kind: str, key: Key) -> None:
        """Forget when a resource was due: it is gone."""
        self.controllers[kind].queue.drop(key)

    async def start(self) -> None:
        """Begin to lead, with a pass of everything; return when all controllers run."""
        self._term = term = object()
        for kind in self.context.resources:
            self._wake_all(kind)
        self._group.run(self._follow_clock())
        first = [self.controllers[row.name] for row in self._table.values() if row.first]
        self._group.run(*(controller.run() for controller in first))
        # Pools and rooms can do nothing before their server's first pass, and ten thousand would try in vain.
        with suppress(TimeoutError):
            async with asyncio.timeout(_SERVERS_FIRST_SECONDS):
                for controller in first:
                    await controller.first_passes()
        if self._term is term:  # it may have been stopped meanwhile
            self._group.run(*(controller.run() for controller in self.controllers.values() if controller not in first))

    async def stop(self) -> None:
        """Lead no more: return when no pass runs, nothing is due, nothing is remembered and no connection is open."""
        self._term = None
        await self._group.stop()
        for controller in self.controllers.values():
            controller.queue.clear()
        for kind, key in sorted(self.context.remembered):
            await forget(self.context, self._table[kind], key)
        forget_read(self.context)
        await servers_memory.close(self.context)

    def _controller(self, row: Row) -> Controller:
        return Controller(
            row.name,
            lambda key: run_pass(self.context, row, key),
            self.context.metrics,
            self.context.settings.workers,
            lambda key: row.line_of(self.context, row.name, key),
        )

    def _wake_all(self, kind: str) -> None:
        for resource in self.context.resources[kind]:
            self.wake(kind, key_of(resource))

    async def _follow_clock(self) -> None:
        """Wake everything when the clock was moved, or the machine slept: timers know nothing of either."""
        before = self._clock_ahead()
        while True:
            await asyncio.sleep(self.context.settings.clock_look_seconds)
            forget_old(self.context)
            ahead = self._clock_ahead()
            if abs(ahead - before) > _CLOCK_MOVED_SECONDS:
                logger.warning("the clock was moved by %.0f s", ahead - before)
                if ahead < before:
                    set_back(self.context, self._table)
                for kind in self.context.resources:
                    self._wake_all(kind)
            before = ahead

    def _clock_ahead(self) -> float:
        """Return how far the clock is ahead, in seconds, of the one that timers go by."""
        return self.context.now().timestamp() - asyncio.get_running_loop().time()
