"""One AgentServer of livekit-agents, held to the settings, and what is known of it.

The library has no public way to ask whether a worker is registered or how many processes are warm, to guard a
user's own `on_request`, or to change the Prometheus port. This is the one module that touches its private parts.
An agent of one's own brings its own version of the library: each setting is applied on its own, after a look
whether the parts it needs are there, and one that cannot be applied says why instead of stopping the agent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from .capacity import CapacityGuard, Job, accept
from .refill import Refill
from .sessions import ReportingEntrypoint, Sessions
from .settings import Settings
from .terminations import Terminations
from .warmups import LOGGER, Warmups

logger = logging.getLogger(__name__)


class MissingPart(Exception):
    """This version of the library lacks what a setting needs."""


def need(thing: Any, *names: str) -> None:
    """Raise MissingPart unless a thing has all these attributes."""
    if missing := [name for name in names if not hasattr(thing, name)]:
        owner = thing.__name__ if isinstance(thing, type) else type(thing).__name__
        raise MissingPart(f"this livekit-agents has no {', '.join(f'{owner}.{name}' for name in missing)}")


def _make_rtc_client() -> None:
    """Make what all calls of a process share before any of them comes, where calls are threads.

    The library makes it when it is first asked for, without a lock: calls that come together would each make one, only
    the last of which is told what happens in rooms; the others' calls never join, and 15 s later its native part has
    the whole process end ("timed out waiting for ReadyForRoomEventRequest"; livekit/rtc/_ffi_client.py `instance`).
    """
    kind = getattr(sys.modules.get("livekit.rtc._ffi_client"), "FfiClient", None)
    if kind is None:
        raise MissingPart("this livekit-rtc has no FfiClient")
    need(kind, "instance")  # to look is to make it


class SupervisedWorker:
    """A server (livekit.agents.AgentServer, of any version) that takes at most so many sessions."""

    def __init__(self, server: Any, settings: Settings) -> None:
        self.server = server
        self.settings = settings
        self.guard = CapacityGuard(settings.sessions_per_pod, self._running)
        self.sessions = Sessions()
        self.warmups = Warmups(lambda: getattr(server, "_initialize_process_timeout", None))
        self.applied: list[str] = []
        self.not_applied: dict[str, str] = {}
        self._registered = False
        self._started = False
        self._reports: set[asyncio.Task[None]] = set()

    @property
    def registered(self) -> bool:
        return self._registered

    @property
    def draining(self) -> bool:
        return bool(getattr(self.server, "draining", False))

    @property
    def worker_id(self) -> str | None:
        return getattr(self.server, "id", None) if self._registered else None

    @property
    def started(self) -> bool:
        """Whether its processes had their time to warm up; no call can come to it before."""
        return self._started

    @property
    def agent_name(self) -> str:
        """The name the worker registers with."""
        return str(getattr(self.server, "_agent_name", ""))

    @property
    def job_type(self) -> str:
        """ROOM for one job in each room, PUBLISHER for one for each participant that publishes."""
        return str(getattr(getattr(self.server, "_server_type", None), "name", "ROOM"))

    @property
    def deployment(self) -> str:
        return str(getattr(self.server, "_deployment", ""))

    @property
    def warmed_up(self) -> bool:
        """Whether all idle processes were warm at once since the start; stays true after that."""
        if not self._started or self.settings.idle_processes == 0:
            return self._started
        # the pool's own latch; its start gives up waiting for it after a while
        latch = getattr(self.server._proc_pool, "_idle_ready", None)
        return latch is None or bool(latch.is_set())

    @property
    def warm_processes(self) -> int:
        queue = getattr(getattr(self.server, "_proc_pool", None), "_warmed_proc_queue", None)
        return 0 if queue is None else int(queue.qsize())

    def apply(self) -> None:
        """Apply every setting; to be called after the agent's own code, right before the server runs."""
        self._try("agentName", self._name_it)
        self._try("sessionsPerPod", self._cap_sessions)
        self._try("idleProcesses", lambda: self._update(num_idle_processes=self.settings.idle_processes))
        self._try("drainTimeout", lambda: self._update(drain_timeout=self.settings.drain_timeout_seconds))
        # Never give up on the LiveKit server: readiness tells that it is away, and a pod that stays is back
        # seconds after it, where one that exits waits in CrashLoopBackOff and ends its calls.
        self._try("reconnect", lambda: self._update(max_retry=sys.maxsize))
        if self.settings.initialize_timeout_seconds is not None:
            self._try("initializeTimeout", self._give_time_to_initialize)
        logging.getLogger(LOGGER).addHandler(self.warmups)
        if self.settings.metrics_port is not None:
            self._try("prometheus", self._expose_metrics)
        if os.environ.get("LIVEKIT_AGENT_DEPLOYMENT"):
            self._try("deployment", lambda: need(self.server, "_deployment"))
        self._try("readiness", self._watch_registration)
        self._try("sessions", self._report_failures)
        if getattr(getattr(self.server, "_job_executor_type", None), "name", "") == "THREAD":
            self._try("oneRtcClient", _make_rtc_client)
        # emitted when the processes had their time to warm up, before the connection to the server is begun
        self.server.on("worker_started", self._on_started)

    def _try(self, setting: str, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001  nothing here may stop the agent
            logger.warning("cannot apply %s: %s", setting, error)
            self.not_applied[setting] = str(error)
        else:
            self.applied.append(setting)

    def _update(self, **options: Any) -> None:
        need(self.server, "update_options")
        if (kept := getattr(self.server, "_shutdown_process_timeout", None)) is not None:
            # Before livekit-agents 1.6 it is set to 10 s where it is left out.
            options.setdefault("shutdown_process_timeout", kept)
        self.server.update_options(**options)

    def _give_time_to_initialize(self) -> None:
        # Not by update_options, which takes it and forgets it before livekit-agents 1.6.
        need(self.server, "_initialize_process_timeout")
        self.server._initialize_process_timeout = float(self.settings.initialize_timeout_seconds or 0)

    def _name_it(self) -> None:
        need(self.server, "_agent_name")
        # whoever runs the pod has the last word: the file is as old as the version of the pool
        self.server._agent_name = os.environ.get("LIVEKIT_AGENT_NAME_OVERRIDE") or self.settings.agent_name

    def _cap_sessions(self) -> None:
        need(self.server, "_request_fnc")
        need(type(self.server), "active_jobs")
        decide = self.server._request_fnc or accept
        self.server._request_fnc = lambda request: self.guard.answer(request, decide)
        # The library adds reserved jobs at threshold / idle processes each, so a free worker for four with three
        # idle processes would refuse the fourth of four simultaneous calls. The guard counts them exactly.
        self.server._get_effective_load = lambda: self.guard.load
        need(type(self.server), "load_fnc")
        # the server hands out work only below its own agents.target_load, which must be 1.0 too
        self.server.load_fnc = lambda: self.guard.load
        self._update(load_threshold=1.0)

    def _expose_metrics(self) -> None:
        need(self.server, "_prometheus_port")
        self.server._prometheus_port = self.settings.metrics_port

    def _watch_registration(self) -> None:
        if not hasattr(type(self.server), "_run_ws"):
            # without it a registration is seen to come, but not to go
            self.server.on("worker_registered", self._on_registered)
        need(type(self.server), "_run_ws")
        run_socket = self.server._run_ws

        async def run_registered(socket: Any) -> None:
            # entered right after the server's RegisterWorkerResponse, left when the connection is gone
            self._registered = True
            try:
                await run_socket(socket)
            finally:
                self._registered = False

        self.server._run_ws = run_registered

    def _report_failures(self) -> None:
        need(self.server, "_entrypoint_fnc")
        self.sessions.take_reports()
        if self.server._entrypoint_fnc is not None:
            self.server._entrypoint_fnc = ReportingEntrypoint(self.server._entrypoint_fnc)

    def _on_registered(self, *_: Any) -> None:
        self._registered = True

    def _on_started(self) -> None:
        self._started = True
        self.server._proc_pool.on("process_job_launched", self.sessions.on_launched)
        self.server._proc_pool.on("process_closed", self.sessions.on_closed)
        self._try("terminations", self._heed_terminations)
        self._try("refill", self._pace_refill)
        self._try("loadReports", self._report_load_at_once)
        if getattr(self.server, "_http_proxy", None) and proxy_bypass(urlsplit(self.server._ws_url).hostname or ""):
            self._try("noProxy", self._connect_directly)

    def _pace_refill(self) -> None:
        pool, guard = self.server._proc_pool, self.guard
        need(pool, "set_target_idle_processes")
        refill = Refill(pool, self.settings.idle_processes, lambda: guard.capacity - guard.occupied)
        pool.set_target_idle_processes = refill.on_load
        pool.on("process_job_launched", refill.on_launched)

    def _heed_terminations(self) -> None:
        need(self.server, "_handle_termination")
        pool = self.server._proc_pool
        need(pool, "get_by_job_id")
        terminations = Terminations(pool, self.server._handle_termination)
        self.server._handle_termination = terminations.on_termination
        pool.on("process_job_launched", terminations.on_launched)

    def _report_load_at_once(self) -> None:
        # The library reports every 2.5 s: that long a worker that has a place again would be offered no call.
        if "sessionsPerPod" not in self.applied:
            raise MissingPart("sessionsPerPod is not applied, so the load is not the runner's to report")
        need(self.server, "_worker_load", "_update_worker_status")
        self.guard.on_change = self._report_load
        self.server._proc_pool.on("process_closed", self._on_closed)

    def _on_closed(self, executor: Any) -> None:
        if executor.running_job is not None:
            self._report_load()

    def _report_load(self) -> None:
        # in a task, because a process that is closed is on the list of processes until all were told
        task = asyncio.ensure_future(self._send_load())
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _send_load(self) -> None:
        self.server._worker_load = self.guard.load
        try:
            await self.server._update_worker_status()
        except Exception:
            logger.debug("the load is reported with the library's next status", exc_info=True)

    def _connect_directly(self) -> None:
        # The library connects to LiveKit through HTTPS_PROXY whatever NO_PROXY says. Its job processes have
        # their own copy, taken before this.
        need(self.server, "_http_session")
        need(self.server._http_session, "_default_proxy")
        self.server._http_proxy = None
        self.server._http_session._default_proxy = None

    def _running(self) -> Iterable[Job]:
        # before the server runs it has no pool to ask
        return [info.job for info in self.server.active_jobs] if hasattr(self.server, "_proc_pool") else []
