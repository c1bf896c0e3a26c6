"""What the runner relies on in the library, and what it makes of it."""

import inspect
from types import SimpleNamespace

import pytest
from livekit.agents import AgentServer
from livekit.agents.ipc.proc_pool import ProcPool

from voice_agent.runner.server import RunnerServer


def server(idle_processes: int = 3) -> RunnerServer:
    return RunnerServer(capacity=4, idle_processes=idle_processes, drain_timeout=60, setup=lambda _: None)


@pytest.mark.parametrize(
    ("where", "names"),
    [
        (AgentServer.run, ["self._proc_pool = ", "self._inference_executor"]),
        (AgentServer._connection_task, ["self._handle_register(", "await self._run_ws(ws)"]),
        (AgentServer._is_available, ["self._get_effective_load()", "self._draining"]),
        (AgentServer._update_worker_status, ["self._get_effective_load()"]),
        (ProcPool, ["self._idle_ready.set()", "self._warmed_proc_queue"]),
    ],
)
def test_the_private_parts_are_still_there(where: object, names: list[str]) -> None:
    source = inspect.getsource(where)  # type: ignore[arg-type]
    assert [name for name in names if name not in source] == []


def test_before_the_start_nothing_is_warm() -> None:
    worker = server()
    assert (worker.warmed_up, worker.warm_processes, worker.registered, worker.worker_id) == (False, 0, False, None)
    assert worker.guard.occupied == 0


@pytest.mark.parametrize(("idle", "ready", "warm"), [(3, False, False), (3, True, True), (0, False, True)])
def test_warmed_up_is_the_pools_own_latch(idle: int, ready: bool, warm: bool) -> None:
    worker = server(idle)
    pool = SimpleNamespace(_idle_ready=SimpleNamespace(is_set=lambda: ready))
    worker._proc_pool = pool  # type: ignore[assignment]
    assert worker.warmed_up is warm


def test_load_counts_exactly() -> None:
    worker = server()
    running = [SimpleNamespace(running_job=SimpleNamespace(job=SimpleNamespace(id=name))) for name in "ab"]
    worker._proc_pool = SimpleNamespace(processes=running)  # type: ignore[assignment]
    worker._reserved_slots = 1
    assert worker._get_effective_load() == 0.5
    with worker.guard.promise("c"):
        assert worker._get_effective_load() == 0.75
