"""A controller reconciles the objects of one kind: a queue, some workers, and what to do with each outcome."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from livekit_operator.engine.cache import Key
from livekit_operator.engine.queue import WorkQueue
from livekit_operator.engine.turns import Line, Share
from livekit_operator.errors import Conflict
from livekit_operator.logs import ObjectLogger
from livekit_operator.metrics import Metrics

logger = logging.getLogger(__name__)

# Reconciles one object by key; returns the seconds until its next pass, or None.
Reconcile = Callable[[Key], Awaitable[float | None]]


def is_cancelled() -> bool:
    """Return whether the running task itself is being cancelled, not only something that it waited for."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def share_of(workers: int) -> Share:
    """Return how many of a controller's workers one namespace may use, and one target: a half, and a quarter."""
    return Share(namespace=max(1, workers // 2), target=max(1, workers // 4))


class Controller:
    """Runs the passes of one queue. An error never ends a worker: the key is ready again after a backoff."""

    def __init__(
        self,
        kind: str,
        reconcile: Reconcile,
        metrics: Metrics,
        workers: int,
        line_of: Callable[[Key], Line] | None = None,
    ) -> None:
        self.kind = kind
        # Without a line for each, all keys are in one, which may have all workers.
        self.queue: WorkQueue[Key] = WorkQueue(line_of=line_of, share=share_of(workers)) if line_of else WorkQueue()
        self._reconcile = reconcile
        self._metrics = metrics
        self._workers = workers
        self._passed = asyncio.Event()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        self._metrics.queued.labels(self.kind).set_function(lambda: len(self.queue))
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    async def first_passes(self) -> None:
        """Wait until everything that was ready has had its pass."""
        while not self.queue.idle:
            self._passed.clear()
            await self._passed.wait()

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._pass(key)
            finally:
                self.queue.done(key)
                self._passed.set()

    async def _pass(self, key: Key) -> None:
        started = time.perf_counter()
        try:
            again = await self._reconcile(key)
        except Conflict as error:
            # Somebody wrote in between: an ordinary event, and the next pass decides again.
            self._failed(key, error, logging.DEBUG)
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            # What it waited for was cancelled by somebody else: a client that was closed while its name was looked up.
            self._failed(key, error, logging.ERROR)
        except Exception as error:  # noqa: BLE001 - one object's failure must not stop the others
            self._failed(key, error, logging.ERROR)
        else:
            self._metrics.reconciles.labels(self.kind, "ok").inc()
            self.queue.forget_failures(key)
            if again is not None:
                self.queue.add_after(key, again)
        finally:
            self._metrics.duration.labels(self.kind).observe(time.perf_counter() - started)

    def _failed(self, key: Key, error: BaseException, level: int) -> None:
        self._metrics.reconciles.labels(self.kind, "error").inc()
        self._metrics.errors.labels(self.kind, type(error).__name__).inc()
        delay = self.queue.add_failed(key)
        ObjectLogger(self.kind, *key).log(
            level,
            "reconcile failed, next try in %.1f s: %s",
            delay,
            str(error) or type(error).__name__,
            exc_info=level >= logging.ERROR,
        )
