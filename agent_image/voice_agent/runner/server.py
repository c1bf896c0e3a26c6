"""The library's AgentServer with a hard cap, and with its warm-up and registration made visible.

The library has no public way to ask whether it is registered or how many processes are warm, so this is
the one module that touches its private parts; requirements.txt pins the version and
tests/unit/agent_image/test_server.py fails when one of those parts is renamed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
from livekit.agents import AgentServer, JobProcess

from .capacity import CapacityGuard

INITIALIZE_TIMEOUT = 20.0  # seconds a process may take to warm up
WORKER_PORT = 8081


class RunnerServer(AgentServer):
    """An AgentServer that takes at most `capacity` sessions."""

    def __init__(
        self,
        *,
        capacity: int,
        idle_processes: int,
        drain_timeout: int,
        setup: Callable[[JobProcess], Any],
        preload: Sequence[str] = (),
        port: int = WORKER_PORT,
    ) -> None:
        self.guard = CapacityGuard(capacity, self.running_job_ids)
        self._registered = False
        super().__init__(
            num_idle_processes=idle_processes,
            # the server hands out work only below its own agents.target_load, which must be 1.0 too
            load_fnc=lambda: self.guard.load,
            load_threshold=1.0,
            drain_timeout=drain_timeout,
            initialize_process_timeout=INITIALIZE_TIMEOUT,
            setup_fnc=setup,
            preload_modules=list(preload),
            port=port,
            # Never give up on the LiveKit server: readiness tells that it is away, and a pod that stays is back
            # seconds after it, where one that exits waits in CrashLoopBackOff and ends its calls.
            max_retry=sys.maxsize,
        )
        self._idle_processes = idle_processes

    @property
    def registered(self) -> bool:
        return self._registered

    @property
    def worker_id(self) -> str | None:
        return self.id if self._registered else None

    @property
    def warmed_up(self) -> bool:
        """Whether all idle processes were warm at once since the start; stays true after that."""
        if not self._started:
            return False
        return self._idle_processes == 0 or self._proc_pool._idle_ready.is_set()

    @property
    def warm_processes(self) -> int:
        return self._proc_pool._warmed_proc_queue.qsize() if self._started else 0

    def running_job_ids(self) -> list[str]:
        return [info.job.id for info in self.active_jobs] if self._started else []

    @property
    def _started(self) -> bool:
        return hasattr(self, "_proc_pool")

    async def _run_ws(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        # entered right after the server's RegisterWorkerResponse, left when the connection is gone
        self._registered = True
        try:
            await super()._run_ws(ws)
        finally:
            self._registered = False

    def _get_effective_load(self) -> float:
        # The library adds reserved jobs at threshold / idle processes each, so a free worker for four with three
        # idle processes would refuse the fourth of four simultaneous calls. The guard counts them exactly.
        return self.guard.load
