"""The hard cap on sessions: a worker never takes one more than it was given."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

# The library's own objects, which differ from version to version: a job has id, dispatch_id and room.name
# (livekit.protocol.agent.Job), a request has job, accept() and reject().
Job = Any
Request = Any
Decision = Callable[[Request], Awaitable[None]]


async def accept(request: Request) -> None:
    """Take the job: returns once it runs, raises when the assignment never came."""
    await request.accept()


async def refuse(request: Request) -> None:
    """Refuse in a way that lets another worker take the job."""
    if "terminate" in inspect.signature(request.reject).parameters:
        # where it exists its default, True, would end the job for every worker
        await request.reject(terminate=False)
    else:
        await request.reject()


class CapacityGuard:
    """Knows the jobs that run and those promised but not yet running, by id, so that none counts twice.

    The library's own load check alone lets simultaneous requests through (livekit/agents#4884).
    """

    def __init__(self, capacity: int, running: Callable[[], Iterable[Job]]) -> None:
        self.capacity = capacity
        self._running = running
        # called when a place was promised, and when the promise is kept or broken
        self.on_change: Callable[[], None] = lambda: None
        self._promised: dict[str, Job] = {}
        self._since: dict[str, str] = {}

    @property
    def jobs(self) -> dict[str, Job]:
        """The jobs promised or running, by id."""
        return {**self._promised, **{job.id: job for job in self._running()}}

    @property
    def occupied(self) -> int:
        return len(self.jobs)

    @property
    def load(self) -> float:
        """Sessions over capacity: what the server weighs workers by; 1.0 means full."""
        return min(self.occupied / self.capacity, 1.0)

    @contextmanager
    def promise(self, job: Job) -> Iterator[bool]:
        """Hold a place for one job, saying whether there was one; there is no await between look and take."""
        if self.occupied >= self.capacity or job.id in self._promised:
            yield False
            return
        self._promised[job.id] = job
        self._since[job.id] = _now()
        self.on_change()
        try:
            yield True
        finally:
            del self._promised[job.id]
            self.on_change()

    async def answer(self, request: Request, decide: Decision = accept) -> None:
        """Let `decide` answer while there is room: the place is its job's until it returns. Otherwise refuse."""
        with self.promise(request.job) as granted:
            await (decide if granted else refuse)(request)

    def document(self) -> list[dict[str, str]]:
        """The jobs as /status shows them."""
        jobs = self.jobs
        self._since = {job_id: self._since.get(job_id) or _now() for job_id in jobs}
        return [
            {
                "id": job_id,
                "dispatchId": job.dispatch_id,
                "room": job.room.name,
                "startedAt": self._since[job_id],
            }
            for job_id, job in jobs.items()
        ]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")  # noqa: UP017  Python 3.9
