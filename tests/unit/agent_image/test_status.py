"""What the worker's endpoints answer."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from voice_agent.runner.provider_errors import ProviderError, ProviderErrorBoard
from voice_agent.runner.status import WorkerStatus, application


def worker(**changes: Any) -> Any:
    return SimpleNamespace(
        **{
            "warmed_up": True,
            "registered": True,
            "draining": False,
            "worker_id": "AW_1",
            "warm_processes": 3,
            "guard": SimpleNamespace(occupied=0, capacity=4),
            **changes,
        }
    )


async def answers(status: WorkerStatus) -> tuple[int, int, str, dict[str, Any]]:
    async with TestClient(TestServer(application(status))) as client:
        health, ready, document = [await client.get(path) for path in ("/healthz", "/readyz", "/status")]
        return health.status, ready.status, await ready.text(), await document.json()


async def test_a_ready_worker_shows_its_zeros(tmp_path: Path) -> None:
    assert await answers(WorkerStatus(worker(), ProviderErrorBoard(tmp_path))) == (
        200,
        200,
        "ok",
        {
            "ready": True,
            "registered": True,
            "draining": False,
            "workerId": "AW_1",
            "warmProcesses": 3,
            "activeSessions": 0,
            "capacity": 4,
            "providerErrors": [],
        },
    )


async def test_a_busy_worker_stays_ready(tmp_path: Path) -> None:
    busy = worker(warm_processes=0, guard=SimpleNamespace(occupied=4, capacity=4))
    assert (await answers(WorkerStatus(busy, ProviderErrorBoard(tmp_path))))[1] == 200


async def test_a_lost_registration_is_told(tmp_path: Path) -> None:
    lost = worker(registered=False, worker_id=None)
    health, ready, text, document = await answers(WorkerStatus(lost, ProviderErrorBoard(tmp_path)))
    assert (health, ready, text) == (200, 503, "not registered with the LiveKit server")
    assert (document["ready"], document["workerId"]) == (False, None)


async def test_a_failed_worker_is_not_healthy(tmp_path: Path) -> None:
    failed = WorkerStatus(worker(), ProviderErrorBoard(tmp_path), stopping=True, failure="the worker stopped by itself")
    health, ready, text, _ = await answers(failed)
    assert (health, ready) == (503, 503)
    assert text == "failed: the worker stopped by itself\ndraining"


async def test_refused_keys_are_listed(tmp_path: Path) -> None:
    board = ProviderErrorBoard(tmp_path)
    board.report(ProviderError("llm", "openai", 401, "the provider refused the API key", "2026-01-01T00:00:00Z"))
    _, ready, _, document = await answers(WorkerStatus(worker(), board))
    assert ready == 200
    assert document["providerErrors"] == [
        {
            "role": "llm",
            "provider": "openai",
            "code": 401,
            "message": "the provider refused the API key",
            "at": "2026-01-01T00:00:00Z",
        }
    ]
