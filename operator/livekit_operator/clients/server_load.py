"""How much a livekit-server has to do, from the metrics on its own address."""

from typing import Protocol

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from livekit_operator.views import ServerLoad

# A server's metrics have some 50 KiB; what runs there may be anybody's image.
_MAX_BODY_BYTES = 4 * 1024 * 1024
# Whoever has lost its node answers nothing at all, and clients wait meanwhile.
_LIMITS = aiohttp.ClientTimeout(total=2, sock_connect=1)
# Source: livekit-server pkg/telemetry/prometheus/rooms.go
_ROOMS = "livekit_room_total"
_PARTICIPANTS = "livekit_participant_total"


class ServerLoads(Protocol):
    """What the operator asks of a server's metrics."""

    async def load(self, address: str, port: int, credentials: tuple[str, str] | None) -> ServerLoad | None:
        """Return rooms and participants of the server at an IP address, None when it does not answer in time."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class ServerLoadClient:
    """The implementation: `GET /metrics`."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(timeout=_LIMITS)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def load(self, address: str, port: int, credentials: tuple[str, str] | None) -> ServerLoad | None:
        """Return rooms and participants of the server at an IP address, None when it does not answer in time."""
        host = f"[{address}]" if ":" in address else address
        try:
            headers = {"Authorization": aiohttp.encode_basic_auth(*credentials)} if credentials else {}
            async with self._session.get(
                f"http://{host}:{port}/metrics", headers=headers, allow_redirects=False
            ) as response:
                if response.status != 200:
                    return ServerLoad()  # it lives: an older login, or another image
                text = bytearray()
                async for chunk in response.content.iter_chunked(65536):
                    text += chunk
                    if len(text) > _MAX_BODY_BYTES:
                        return ServerLoad()
            return parse_load(text.decode(errors="replace"))
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        except ValueError:
            return ServerLoad()


def parse_load(text: str) -> ServerLoad:
    """Return the load that metrics speak of; raises ValueError when they are not a livekit-server's."""
    # Only the two gauges are parsed: the rest is a hundred times as much.
    lines = [line for line in text.splitlines() if line.startswith((_ROOMS, _PARTICIPANTS))]
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families("\n".join(lines) + "\n")
        for sample in family.samples
    }
    if _ROOMS not in values or _PARTICIPANTS not in values:
        raise ValueError("not the metrics of a livekit-server")
    rooms = int(values[_ROOMS])
    # A server also counts those whose signalling alone goes through it, to a room that another one has.
    return ServerLoad(rooms=rooms, participants=int(values[_PARTICIPANTS]) if rooms else 0)
