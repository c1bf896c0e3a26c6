"""The hard cap on sessions: a worker never takes one more than it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from livekit.agents import JobRequest


class CapacityGuard:
    """Counts running jobs and jobs promised but not yet running, by job id, so none counts twice.

    The library's own load check alone lets simultaneous requests through (livekit/agents#4884).
    """

    def __init__(self, capacity: int, running: Callable[[], Iterable[str]]) -> None:
        self.capacity = capacity
        self._running = running
        self._promised: set[str] = set()

    @property
    def occupied(self) -> int:
        return len(set(self._promised).union(self._running()))

    @property
    def load(self) -> float:
        """Sessions over capacity: what the server weighs workers by; 1.0 means full."""
        return min(self.occupied / self.capacity, 1.0)

    @contextmanager
    def promise(self, job_id: str) -> Iterator[bool]:
        """Hold a place for one job, saying whether there was one; there is no await between look and take."""
        if self.occupied >= self.capacity or job_id in self._promised:
            yield False
            return
        self._promised.add(job_id)
        try:
            yield True
        finally:
            self._promised.discard(job_id)

    async def on_request(self, request: JobRequest) -> None:
        """Accept while there is room; otherwise refuse in a way that lets another worker take the job."""
        with self.promise(request.id) as granted:
            if granted:
                # returns once the job runs (and counts as running), raises when the assignment never came
                await request.accept()
            else:
                # the default, terminate=True, would end the job for every worker
                await request.reject(terminate=False)
