"""When idle processes are started in place of those that took a call.

The library starts them at once, as many as there were, also while the worker has no session left for them: a burst
of calls then shares its first second with processes that nobody waits for (ipc/proc_pool.py; three to five of them
were counted during a burst that filled a worker). Here they wait until the calls that just came have begun to speak.
A call that finds no idle process still gets one started for itself at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PAUSE = 2.0  # seconds from a call to the next start of an idle process


class Refill:
    """Decides how many idle processes the library's pool aims at."""

    def __init__(
        self, pool: Any, idle_processes: int, free: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._aim_at = pool.set_target_idle_processes
        self._idle_processes = idle_processes
        self._free = free
        self._clock = clock
        self._paused_until = clock()

    def target(self) -> int:
        """Return how many idle processes there should be now; more than that are left alone."""
        if self._clock() < self._paused_until:
            return 0
        return max(min(self._idle_processes, self._free()), 0)

    def on_launched(self, executor: Any) -> None:
        """A call was given a process: begin a pause, unless there is one, which calls do not prolong."""
        del executor
        if self._clock() >= self._paused_until:
            self._paused_until = self._clock() + PAUSE
        self._aim_at(self.target())

    def on_load(self, idle_processes: int) -> None:
        """The library's own look at the load, twice a second: what it has in mind is replaced."""
        del idle_processes
        self._aim_at(self.target())
