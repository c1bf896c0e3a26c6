"""What an agent pod says of itself, over HTTP on its own address."""

from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp

from livekit_operator.constants import AGENT_STATUS_PORT
from livekit_operator.views import ProviderError, WorkerStatus


class Worker(Protocol):
    """What the operator asks of an agent pod."""

    async def status(self, address: str) -> WorkerStatus | None:
        """Return what the pod at an IP address says, None when it does not answer in time."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class WorkerClient:
    """The implementation: `GET :8082/status` of the stock agent."""

    def __init__(self, port: int = AGENT_STATUS_PORT) -> None:
        self._port = port
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def status(self, address: str) -> WorkerStatus | None:
        """Return what the pod at an IP address says, None when it does not answer in time."""
        host = f"[{address}]" if ":" in address else address
        try:
            async with self._session.get(f"http://{host}:{self._port}/status") as response:
                return parse_status(await response.json()) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None


def parse_status(body: Mapping[str, Any]) -> WorkerStatus:
    """Return the status of a JSON body; raises ValueError when it is not one."""
    try:
        return WorkerStatus(
            registered=bool(body["registered"]),
            sessions=int(body["activeSessions"]),
            provider_errors=tuple(
                ProviderError(str(e["role"]), str(e["provider"]), int(e["code"]), str(e["message"]))
                for e in body.get("providerErrors") or ()
            ),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a worker's status: {error!r}") from error
