"""What an agent pod says of itself, over HTTP on its own address."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp

from livekit_operator.constants import AGENT_STATUS_PORT
from livekit_operator.views import ProviderError, WorkerStatus

_MAX_BODY_BYTES = 64 * 1024
_MAX_ERRORS = 8


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
            # The pod may run anybody's image: it leads nowhere else and is not listened to for ever.
            async with self._session.get(f"http://{host}:{self._port}/status", allow_redirects=False) as response:
                return parse_status(json.loads(await _read(response))) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError):
            return None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body; raises ValueError when it is too long for a status."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(8192):
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise ValueError("too long for a worker's status")
    return bytes(body)


def parse_status(body: Mapping[str, Any]) -> WorkerStatus:
    """Return the status of a JSON body; raises ValueError when it is not one."""
    try:
        return WorkerStatus(
            registered=bool(body["registered"]),
            sessions=int(body["activeSessions"]),
            provider_errors=tuple(
                ProviderError(str(e["role"])[:32], str(e["provider"])[:32], int(e["code"]), str(e["message"])[:256])
                for e in (body.get("providerErrors") or ())[:_MAX_ERRORS]
            ),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a worker's status: {error!r}") from error
