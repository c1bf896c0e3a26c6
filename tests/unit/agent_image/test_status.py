"""What the worker's endpoints answer."""

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from voice_agent.provider_errors import ProviderError
from voice_agent.runner.capacity import CapacityGuard
from voice_agent.runner.sessions import Sessions
from voice_agent.runner.status import WorkerStatus, application


def worker(**changes: Any) -> Any:
    return SimpleNamespace(
        **{
            "warmed_up": True,
            "registered": True,
            "draining": False,
            "worker_id": "AW_1",
            "agent_name": "front-desk",
            "deployment": "",
            "job_type": "ROOM",
            "warm_processes": 3,
            "guard": CapacityGuard(4, list),
            "sessions": Sessions(),
            "warmups": SimpleNamespace(problem=None),
            "applied": ["sessionsPerPod"],
            "not_applied": {"prometheus": "no such part"},
            **changes,
        }
    )


async def answers(status: WorkerStatus) -> tuple[int, int, str, dict[str, Any]]:
    async with TestClient(TestServer(application(status))) as client:
        health, ready, document = [await client.get(path) for path in ("/healthz", "/readyz", "/status")]
        return health.status, ready.status, await ready.text(), await document.json()


async def test_a_ready_worker_shows_its_zeros() -> None:
    assert await answers(WorkerStatus(worker())) == (
        200,
        200,
        "ok",
        {
            "ready": True,
            "notReady": [],
            "registered": True,
            "draining": False,
            "workerId": "AW_1",
            "agentName": "front-desk",
            "deployment": "",
            "jobType": "ROOM",
            "warmProcesses": 3,
            "activeSessions": 0,
            "capacity": 4,
            "jobs": [],
            "endedJobs": [],
            "sessions": {"started": 0, "failed": 0},
            "providerErrors": [],
            "applied": ["sessionsPerPod"],
            "notApplied": [{"setting": "prometheus", "reason": "no such part"}],
        },
    )


async def test_a_busy_worker_stays_ready() -> None:
    jobs = [SimpleNamespace(id=f"AJ_{n}", dispatch_id=f"AD_{n}", room=SimpleNamespace(name=f"r{n}")) for n in range(4)]
    _, ready, _, document = await answers(WorkerStatus(worker(warm_processes=0, guard=CapacityGuard(4, lambda: jobs))))
    assert (ready, document["activeSessions"]) == (200, 4)
    assert [(job["id"], job["dispatchId"], job["room"]) for job in document["jobs"]] == [
        (f"AJ_{n}", f"AD_{n}", f"r{n}") for n in range(4)
    ]
    assert [(job["state"], job["lastActivityAt"]) for job in document["jobs"]] == [(None, None)] * 4


async def test_a_lost_registration_is_told() -> None:
    lost = worker(registered=False, worker_id=None)
    health, ready, text, document = await answers(WorkerStatus(lost))
    assert (health, ready, text) == (200, 503, "not registered with the LiveKit server")
    assert (document["ready"], document["workerId"]) == (False, None)
    assert document["notReady"] == ["not registered with the LiveKit server"]


async def test_why_it_is_not_warm_is_told() -> None:
    cold = worker(warmed_up=False, registered=False, warmups=SimpleNamespace(problem="the last one failed: no model"))
    _, _, text, document = await answers(WorkerStatus(cold))
    assert document["notReady"] == text.splitlines()
    assert document["notReady"][0] == "idle processes are not warm yet: the last one failed: no model"


async def test_a_failed_worker_is_not_healthy() -> None:
    failed = WorkerStatus(worker(), stopping=True, failure="the worker stopped by itself")
    health, ready, text, _ = await answers(failed)
    assert (health, ready) == (503, 503)
    assert text == "failed: the worker stopped by itself\ndraining"


async def test_refused_keys_are_listed() -> None:
    refused = ProviderError("llm", "openai", 401, "the provider refused the API key", "2026-01-01T00:00:00Z")
    _, ready, _, document = await answers(WorkerStatus(worker(), lambda: [asdict(refused)]))
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
