"""How much a livekit-server has to do, from the metrics on its own address."""

import re
from typing import Protocol

import aiohttp

from livekit_operator.clients import strangers
from livekit_operator.outside import count
from livekit_operator.views import ServerLoad

# A server's metrics have some 50 KiB; what runs there may be anybody's image.
_MAX_BODY_BYTES = 4 * 1024 * 1024
# Whoever has lost its node answers nothing at all, and clients wait meanwhile.
_LIMITS = aiohttp.ClientTimeout(total=2, sock_connect=1)
# Source: livekit-server pkg/telemetry/prometheus/rooms.go
_ROOMS = "livekit_room_total"
_PARTICIPANTS = "livekit_participant_total"
# Only the two gauges are read: the rest is a hundred times as much.
# Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
_SAMPLE = re.compile(
    rf"^({_ROOMS}|{_PARTICIPANTS})(?:\{{[^\n]*\}})?[ \t]+([0-9.eE+-]{{1,32}})(?:[ \t]|$)", re.MULTILINE
)


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
        self._session = strangers.session(_LIMITS, limit=0)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def load(self, address: str, port: int, credentials: tuple[str, str] | None) -> ServerLoad | None:
        """Return rooms and participants of the server at an IP address, None when it does not answer in time."""
        host = f"[{address}]" if ":" in address else address
        try:
            headers = {"Authorization": aiohttp.encode_basic_auth(*credentials)} if credentials else {}
            url = f"http://{host}:{port}/metrics"
            async with strangers.asking(self._session, "GET", url, headers=headers) as response:
                if response.status != 200:
                    return ServerLoad()  # it lives: an older login, or another image
                text = await strangers.body(response, _MAX_BODY_BYTES)
            return parse_load(text.decode(errors="replace"))
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        except ValueError:
            return ServerLoad()


def parse_load(text: str) -> ServerLoad:
    """Return the load that metrics speak of; raises ValueError when they are not a livekit-server's."""
    values = {name: count(float(value)) for name, value in _SAMPLE.findall(text)}
    if _ROOMS not in values or _PARTICIPANTS not in values:
        raise ValueError("not the metrics of a livekit-server")
    rooms = values[_ROOMS]
    # A server also counts those whose signalling alone goes through it, to a room that another one has.
    return ServerLoad(rooms=rooms, participants=values[_PARTICIPANTS] if rooms else 0)
