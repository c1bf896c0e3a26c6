"""Tasks that belong together: they start and stop as one, and the process ends when one of them does."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class Group:
    """Tasks of one group. None of them is to end by itself."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def run(self, *parts: Coroutine[Any, Any, None]) -> None:
        """Run parts until they are stopped."""
        for part in parts:
            task = asyncio.create_task(part, name=getattr(part, "__qualname__", None))
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def stop(self) -> None:
        """Cancel all parts and wait for their end."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._stopping = False

    @property
    def failed(self) -> bool:
        """Return whether a part has ended by itself."""
        return any(task.done() for task in self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Say why a part has ended: nobody waits for it, and the process ends for it."""
        if not self._stopping:
            tell_end(task)


def tell_end(task: asyncio.Task[None]) -> None:
    """Say that a part of the operator has ended, and why."""
    cause = asyncio.CancelledError() if task.cancelled() else task.exception()
    logger.critical("a part of the operator has ended: %s: %r", task.get_name(), cause, exc_info=cause)
