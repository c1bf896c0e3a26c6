"""Jobs that are cancelled before they have a process.

The library looks for the job's process, finds none, and forgets it (worker.py _handle_termination): the agent starts
all the same and is in the room beside the one that was asked for in its place. Here such a job is ended once it has a
process.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

logger = logging.getLogger(__name__)

# What is told of a job that has ended already is never called for: only the last ones are kept.
_MOST = 256


class Terminations:
    """Remembers jobs that were cancelled too early, by id."""

    def __init__(self, pool: Any, handle: Callable[[Any], Awaitable[None]]) -> None:
        self._pool = pool
        self._handle = handle
        self._early: deque[str] = deque(maxlen=_MOST)
        self._ending: set[asyncio.Task[None]] = set()

    async def on_termination(self, message: Any) -> None:
        """Take a `livekit.protocol.agent.JobTermination`."""
        if self._pool.get_by_job_id(message.job_id) is None:
            self._early.append(message.job_id)
        await self._handle(message)

    def on_launched(self, executor: Any) -> None:
        """A job was given a process or thread: end it if it was cancelled meanwhile."""
        if executor.running_job is not None and executor.running_job.job.id in self._early:
            logger.info("the job was taken back before it began", extra={"job_id": executor.running_job.job.id})
            task = asyncio.ensure_future(self._end(executor))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _end(self, executor: Any) -> None:
        try:
            await executor.aclose()
        except Exception:
            logger.exception("a job that was taken back could not be ended")
