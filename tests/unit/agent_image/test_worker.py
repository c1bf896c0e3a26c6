"""What of the settings can be applied to a server of the library, whatever its version."""

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from livekit.agents import AgentServer, JobExecutorType
from livekit.agents.cli import cli
from livekit.agents.ipc.proc_pool import ProcPool
from livekit.agents.worker import ServerType
from livekit.rtc._ffi_client import FfiClient

from voice_agent.runner.settings import Settings
from voice_agent.runner.worker import SupervisedWorker

SETTINGS = Settings("name-of-the-pool", 4, 3, 60, 9100)
EVERYTHING = {
    "agentName",
    "sessionsPerPod",
    "idleProcesses",
    "drainTimeout",
    "reconnect",
    "prometheus",
    "readiness",
    "sessions",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("LIVEKIT_RUNNER_SESSIONS", "")
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(tmp_path))


async def entrypoint(_: Any) -> None: ...


def supervised(kind: Callable[[], Any] = AgentServer, settings: Settings = SETTINGS) -> SupervisedWorker:
    server = kind()
    server.rtc_session(entrypoint, agent_name="name-in-the-code")
    worker = SupervisedWorker(server, settings)
    worker.apply()
    return worker


def executor(job_id: str) -> Any:
    job = SimpleNamespace(id=job_id, dispatch_id="AD_1", room=SimpleNamespace(name="room"))
    return SimpleNamespace(running_job=SimpleNamespace(job=job))


def pool(*executors: Any, warm: bool = True, **changes: Any) -> Any:
    """A pool of processes as the library's, as far as it is looked at."""
    return SimpleNamespace(
        **{
            "processes": list(executors),
            "_idle_ready": SimpleNamespace(is_set=lambda: warm),
            "_warmed_proc_queue": SimpleNamespace(qsize=lambda: 2),
            "on": lambda *_: None,
            "set_target_idle_processes": lambda _: None,
            "get_by_job_id": lambda _: None,
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("where", "names"),
    [
        (
            AgentServer.run,
            [
                "self._proc_pool = ",
                "initialize_timeout=self._initialize_process_timeout",
                "self._proc_pool.set_target_idle_processes(",
                'self.emit("worker_started")',
                "self._prometheus_port",
            ],
        ),
        (AgentServer._connection_task, ["self._handle_register(", "await self._run_ws(ws)", "self._max_retry"]),
        (AgentServer._answer_availability, ["await self._request_fnc(job_req)"]),
        (AgentServer._handle_termination, ["self._proc_pool.get_by_job_id(msg.job_id)", "await proc.aclose()"]),
        (ProcPool.launch_job, ['self.emit("process_job_launched", proc)']),
        (AgentServer._is_available, ["self._get_effective_load()", "self._draining"]),
        (AgentServer._update_worker_status, ["self._get_effective_load()", "load=self._worker_load"]),
        (ProcPool, ["self._target_idle_processes, self._default_num_idle_processes", "self._jobs_waiting_for_process"]),
        (ProcPool._monitor_process_task, ['self.emit("process_closed", proc)\n        finally:\n']),
        (ProcPool, ["self._idle_ready.set()", "self._warmed_proc_queue", "process_job_launched", "process_closed"]),
        (cli._run_worker, ["in HANDLED_SIGNALS", "server.drain()", "server.aclose()"]),
    ],
)
def test_the_private_parts_are_still_there(where: object, names: list[str]) -> None:
    source = inspect.getsource(where)  # type: ignore[arg-type]
    assert [name for name in names if name not in source] == []


def test_everything_is_applied_to_the_pinned_library() -> None:
    worker = supervised()
    assert (set(worker.applied), worker.not_applied) == (EVERYTHING, {})
    server = worker.server
    assert (server._num_idle_processes, server._drain_timeout, server._prometheus_port) == (3, 60, 9100)
    assert (server._load_threshold, server.load_fnc(), worker.agent_name) == (1.0, 0.0, "name-of-the-pool")


def test_without_a_port_for_metrics_there_is_nothing_to_apply() -> None:
    worker = supervised(settings=Settings("name", 4, 3, 60))
    assert set(worker.applied) == EVERYTHING - {"prometheus"}


@pytest.mark.parametrize(("asked", "given"), [(None, 12.0), (45, 45.0)])
def test_processes_have_the_time_to_initialize_that_is_asked_for_or_that_the_code_says(
    asked: int | None, given: float
) -> None:
    worker = supervised(lambda: AgentServer(initialize_process_timeout=12.0), Settings("name", 4, 3, 60, None, asked))
    assert worker.server._initialize_process_timeout == given
    assert ("initializeTimeout" in worker.applied) is (asked is not None)


class ForgetsShutdown(AgentServer):
    """As before livekit-agents 1.6, whose options have a default of their own."""

    def update_options(self, **options: Any) -> None:
        super().update_options(**{"shutdown_process_timeout": 10.0, **options})


def test_what_the_code_says_of_shutting_down_is_kept() -> None:
    worker = supervised(lambda: ForgetsShutdown(shutdown_process_timeout=33.0))
    assert worker.server._shutdown_process_timeout == 33.0


class WithoutOptions(AgentServer):
    update_options = property()  # raises AttributeError, as one that is not there


class WithoutMetrics(AgentServer):
    @property
    def _prometheus_port(self) -> Any:
        raise AttributeError

    @_prometheus_port.setter
    def _prometheus_port(self, _: Any) -> None: ...


@pytest.mark.parametrize(
    ("kind", "not_applied", "reason"),
    [
        (
            WithoutOptions,
            {"sessionsPerPod", "idleProcesses", "drainTimeout", "reconnect"},
            "this livekit-agents has no WithoutOptions.update_options",
        ),
        (WithoutMetrics, {"prometheus"}, "this livekit-agents has no WithoutMetrics._prometheus_port"),
    ],
)
def test_what_cannot_be_applied_says_why_and_the_rest_is(
    kind: type[AgentServer], not_applied: set[str], reason: str
) -> None:
    worker = supervised(kind)
    assert set(worker.not_applied) == not_applied
    assert set(worker.not_applied.values()) == {reason}
    assert set(worker.applied) == EVERYTHING - not_applied


def test_before_the_start_nothing_is_warm() -> None:
    worker = supervised()
    assert (worker.warmed_up, worker.warm_processes, worker.registered, worker.worker_id) == (False, 0, False, None)
    assert worker.guard.occupied == 0


@pytest.mark.parametrize(
    ("idle", "changes", "warm"),
    [
        (3, {"warm": False}, False),
        (3, {"warm": True}, True),
        (0, {"warm": False}, True),
        (3, {"_idle_ready": None}, True),  # a library without the latch: that it started is all that is known
    ],
)
def test_warmed_up_is_the_pools_own_latch(idle: int, changes: dict[str, Any], warm: bool) -> None:
    worker = supervised(settings=Settings("name", 4, idle, 60))
    worker.server._proc_pool = pool(**changes)
    assert worker.warmed_up is False
    worker.server.emit("worker_started")
    assert worker.warmed_up is warm


def test_load_counts_exactly() -> None:
    worker = supervised()
    worker.server._proc_pool = pool(executor("a"), executor("b"))
    worker.server._reserved_slots = 1
    assert worker.server._get_effective_load() == 0.5
    with worker.guard.promise(executor("c").running_job.job):
        assert worker.server._get_effective_load() == worker.server.load_fnc() == 0.75


async def test_a_registration_lasts_as_long_as_its_connection() -> None:
    seen: list[tuple[bool, str | None]] = []

    class Connected(AgentServer):
        async def _run_ws(self, ws: Any) -> None:
            seen.append((ws.registered, ws.worker_id))
            raise ConnectionError

    worker = supervised(Connected)
    with pytest.raises(ConnectionError):
        await worker.server._run_ws(worker)
    assert (seen, worker.registered) == ([(True, "unregistered")], False)


@pytest.mark.parametrize(
    ("no_proxy", "proxies"), [("", ("http://proxy:1", "http://proxy:1")), ("livekit.example", (None, None))]
)
def test_livekit_is_reached_as_no_proxy_says(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, proxies: tuple[str | None, str | None]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    monkeypatch.setenv("LIVEKIT_URL", "ws://livekit.example:7880")
    worker = supervised()
    worker.server._proc_pool = pool()
    worker.server._http_session = SimpleNamespace(_default_proxy="http://proxy:1")
    worker.server.emit("worker_started")
    assert (worker.server._http_proxy, worker.server._http_session._default_proxy) == proxies


def test_idle_processes_are_refilled_as_sessions_are_free() -> None:
    worker, aims, listeners = supervised(), list[int](), dict[str, list[Any]]()
    worker.server._proc_pool = pool(
        *map(executor, "abc"),
        set_target_idle_processes=aims.append,
        on=lambda event, listener: listeners.setdefault(event, []).append(listener),
    )
    worker.server.emit("worker_started")
    assert "refill" in worker.applied
    worker.server._proc_pool.set_target_idle_processes(3)
    for listener in listeners["process_job_launched"]:
        listener(executor("c"))
    assert (aims, worker.sessions.started) == ([1, 0], 1)


async def test_a_job_that_is_taken_back_before_it_has_a_process_is_ended_when_it_has_one() -> None:
    running, starting, late = executor("a"), executor("b"), executor("c")
    found, closed = {"a": running}, list[str]()
    for one in (running, starting, late):
        one.aclose = functools.partial(_close, closed, one)
    worker, listeners = supervised(), dict[str, list[Any]]()
    worker.server._proc_pool = pool(
        get_by_job_id=found.get, on=lambda event, listener: listeners.setdefault(event, []).append(listener)
    )
    worker.server.emit("worker_started")
    assert "terminations" in worker.applied
    for job_id in ("a", "b"):
        await worker.server._handle_termination(SimpleNamespace(job_id=job_id))
    assert closed == ["a"], "what runs is ended by the library"
    for one in (late, starting):
        for listener in listeners["process_job_launched"]:
            listener(one)
    await asyncio.sleep(0)
    assert closed == ["a", "b"]


async def _close(closed: list[str], one: Any) -> None:
    closed.append(one.running_job.job.id)


class Reporting(AgentServer):
    """Keeps the loads it would report; `fails` as one whose connection is closed."""

    _worker_load = 0.0
    fails = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tried: list[float] = []
        self.reported: list[float] = []

    async def _update_worker_status(self) -> None:
        self.tried.append(self._worker_load)
        if self.fails:
            raise ConnectionError
        self.reported.append(self._worker_load)


def started(kind: type[Any], *executors: Any) -> tuple[SupervisedWorker, dict[str, list[Any]]]:
    worker, listeners = supervised(kind), dict[str, list[Any]]()
    worker.server._proc_pool = pool(
        *executors, on=lambda event, listener: listeners.setdefault(event, []).append(listener)
    )
    worker.server.emit("worker_started")
    return worker, listeners


async def test_the_load_is_reported_when_a_place_is_taken_and_when_it_is_free_again() -> None:
    running, idle = executor("a"), SimpleNamespace(running_job=None)
    running.status = SimpleNamespace(name="SUCCESS")
    worker, listeners = started(Reporting, running, idle)
    assert "loadReports" in worker.applied
    with worker.guard.promise(executor("b").running_job.job):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    for ended in (running, idle):
        for listener in listeners["process_closed"]:
            listener(ended)
        worker.server._proc_pool.processes.remove(ended)
        await asyncio.sleep(0)
    assert worker.server.reported == [0.5, 0.25, 0.0]


async def test_a_report_that_cannot_be_sent_ends_nothing() -> None:
    worker, _ = started(Reporting)
    worker.server.fails = True
    with worker.guard.promise(executor("a").running_job.job):
        (report,) = worker._reports
        await report
        assert (worker.server.tried, worker.server.reported) == ([0.25], [])
        assert worker.guard.occupied == 1, "the call goes on"
        worker.server.fails = False
    await asyncio.sleep(0)
    assert worker.server.reported == [0.0], "the next report is sent"


class WithoutStatus(AgentServer):
    _update_worker_status = property()  # raises AttributeError, as one that is not there


class WithoutRequests(AgentServer):
    _request_fnc = property(fset=lambda *_: None)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (WithoutStatus, "this livekit-agents has no WithoutStatus._update_worker_status"),
        (WithoutRequests, "sessionsPerPod is not applied, so the load is not the runner's to report"),
    ],
)
async def test_where_the_load_cannot_be_reported_at_once_that_is_said(kind: type[Any], reason: str) -> None:
    kind._worker_load = 0.0
    worker, _ = started(kind)
    assert worker.not_applied["loadReports"] == reason


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the threads in which clients of the library's native part were made."""
    names: list[str] = []
    monkeypatch.setattr(FfiClient, "_instance", None)
    monkeypatch.setattr(FfiClient, "__init__", lambda _: names.append(threading.current_thread().name))
    return names


def test_calls_that_are_threads_share_one_rtc_client(made: list[str]) -> None:
    worker = supervised(functools.partial(AgentServer, job_executor_type=JobExecutorType.THREAD))
    assert set(worker.applied) == {*EVERYTHING, "oneRtcClient"}
    assert made == [threading.current_thread().name]
    seen: list[FfiClient] = []
    together = threading.Barrier(4)

    def call() -> None:
        together.wait(10)
        seen.append(FfiClient.instance)

    calls = [threading.Thread(target=call) for _ in range(4)]
    for thread in calls:
        thread.start()
    for thread in calls:
        thread.join(10)
    assert len(seen) == 4
    assert len(set(map(id, seen))) == len(made) == 1


def test_a_worker_whose_calls_are_processes_makes_no_rtc_client(made: list[str]) -> None:
    assert "oneRtcClient" not in supervised().applied
    assert made == []


@pytest.mark.parametrize("kind", list(ServerType))
def test_what_its_jobs_are_for_is_told(kind: ServerType) -> None:
    server = AgentServer()
    server.rtc_session(entrypoint, type=kind)
    assert SupervisedWorker(server, SETTINGS).job_type == kind.name
    assert SupervisedWorker(SimpleNamespace(), SETTINGS).job_type == "ROOM"
