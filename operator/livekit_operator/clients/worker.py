"""What an agent pod says of itself, over HTTP on its own address."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol
from weakref import WeakValueDictionary

import aiohttp
import orjson

from livekit_operator.clients import strangers
from livekit_operator.constants import AGENT_STATUS_PORT, WORKER_PORT
from livekit_operator.outside import count, moment, said
from livekit_operator.views import EndedJob, ProviderError, WorkerJob, WorkerStatus

_MAX_BODY_BYTES = 1024 * 1024
_MAX_ERRORS = 16
# Pods of one namespace that are asked at once: those that hang keep only their neighbours waiting.
_MOST_AT_ONCE = 32
_MAX_JOBS = 1000
# Of the calls that ended last; the runner tells of as many.
_MAX_ENDED = 64
# A pod may run anybody's image: what it says is cut to what a status can hold.
_MAX_NAME = 253
_MAX_ROOM = 1024
_MAX_STATE = 32


class Worker(Protocol):
    """What the operator asks of an agent pod."""

    async def status(self, address: str, namespace: str = "") -> WorkerStatus | None:
        """Return what the runner in the pod at an IP address says, None when it does not answer in time."""
        ...

    async def plain_status(self, address: str, namespace: str = "") -> WorkerStatus | None:
        """Return what a worker without the runner says, None when it does not answer in time."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class WorkerClient:
    """The implementation: `GET :8082/status` of the runner, `GET :8081/worker` of livekit-agents itself."""

    def __init__(self, port: int = AGENT_STATUS_PORT, plain_port: int = WORKER_PORT) -> None:
        self._port, self._plain_port = port, plain_port
        # No limit of connections: whoever waits for one would be late before it is asked.
        self._session = strangers.session(aiohttp.ClientTimeout(total=2), limit=0)
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def status(self, address: str, namespace: str = "") -> WorkerStatus | None:
        """Return what the runner in the pod at an IP address says, None when it does not answer in time."""
        try:
            return parse_status(await self._get(address, self._port, "status", namespace))
        except _NO_ANSWER:
            return None

    async def plain_status(self, address: str, namespace: str = "") -> WorkerStatus | None:
        """Return what a worker without the runner says, None when it does not answer in time."""
        try:
            return parse_plain_status(await self._get(address, self._plain_port, "worker", namespace))
        except _NO_ANSWER:
            return None

    async def _get(self, address: str, port: int, path: str, namespace: str) -> Any:
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{port}/{path}"
        turns = self._turns.setdefault(namespace, asyncio.Semaphore(_MOST_AT_ONCE))
        async with turns, strangers.asking(self._session, "GET", url) as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            return orjson.loads(await strangers.body(response, _MAX_BODY_BYTES))


_NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


def parse_status(body: Mapping[str, Any]) -> WorkerStatus:
    """Return the status of the runner's JSON body; raises ValueError when it is not one."""
    try:
        jobs, counts = body.get("jobs"), body.get("sessions") or {}
        return WorkerStatus(
            registered=bool(body["registered"]),
            sessions=count(body["activeSessions"]),
            provider_errors=tuple(_provider_error(e) for e in (body.get("providerErrors") or ())[:_MAX_ERRORS]),
            capacity=None if body.get("capacity") is None else count(body["capacity"]),
            agent_name=_text(body.get("agentName"), _MAX_NAME),
            deployment=_text(body.get("deployment"), _MAX_NAME),
            jobs=None if jobs is None else tuple(_job(job) for job in jobs[:_MAX_JOBS]),
            ended=tuple(_ended(job) for job in (body.get("endedJobs") or ())[-_MAX_ENDED:]),
            not_applied=tuple(
                f"{said(item['setting'], 64)}: {said(item['reason'])}"
                for item in (body.get("notApplied") or ())[:_MAX_ERRORS]
            ),
            started=count(counts.get("started", 0)),
            failed=count(counts.get("failed", 0)),
            draining=bool(body.get("draining")),
            not_ready=tuple(said(words) for words in (body.get("notReady") or ())[:_MAX_ERRORS]),
            publishers=body.get("jobType") == "PUBLISHER",
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a worker's status: {error!r}") from error


def parse_plain_status(body: Mapping[str, Any]) -> WorkerStatus:
    """Return the status of livekit-agents' own JSON body; raises ValueError when it is not one.

    What is zero or empty is left out of it (protobuf's JSON mapping), and numbers may be floats. A worker of another
    kind may answer with all that the runner tells (docs/workers.md).
    """
    try:
        if "activeSessions" in body:
            return parse_status(body)
        if "worker_type" not in body:
            raise ValueError("not a worker's status: it names no worker_type")
        return WorkerStatus(
            registered=None,
            sessions=count(body.get("active_jobs", 0)),
            agent_name=_text(body.get("agent_name", ""), _MAX_NAME),
            load=count(float(body.get("worker_load", 0.0)) * 1000) / 1000,
            publishers=body["worker_type"] == "JT_PUBLISHER",
        )
    except (AttributeError, TypeError) as error:
        raise ValueError(f"not a worker's status: {error!r}") from error


def _provider_error(error: Mapping[str, Any]) -> ProviderError:
    return ProviderError(
        role=said(error["role"], 32),
        provider=said(error["provider"], 32),
        code=count(error["code"]),
        message=said(error["message"]),
        covered=bool(error.get("covered")),
    )


def _job(job: Mapping[str, Any]) -> WorkerJob:
    return WorkerJob(
        str(job["id"])[:_MAX_NAME],
        str(job["room"])[:_MAX_ROOM],
        started=moment(job.get("startedAt")),
        state=_text(job.get("state"), _MAX_STATE),
        last_active=moment(job.get("lastActivityAt")),
        dispatch=_text(job.get("dispatchId"), _MAX_NAME) or "",
    )


def _ended(job: Mapping[str, Any]) -> EndedJob:
    failed = bool(job["failed"])
    return EndedJob(
        str(job["id"])[:_MAX_NAME],
        str(job["room"])[:_MAX_ROOM],
        failed,
        said(job.get("error") or "") if failed else "",
        dispatch=_text(job.get("dispatchId"), _MAX_NAME) or "",
        at=moment(job.get("endedAt")),
        seconds=None if job.get("seconds") is None else count(job["seconds"]),
        cut=failed and bool(job.get("cut")),
    )


def _text(value: Any, length: int) -> str | None:
    return None if value is None else said(value, length)
