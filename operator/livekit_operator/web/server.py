"""The group that answers: metrics, readiness, and webhooks from LiveKit servers. It starts first and stops last.

Whoever reaches the port can use it, so it holds a stated number of connections and gives each little time and memory.
"""

import asyncio
from typing import cast

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from livekit_operator.metrics import Metrics
from livekit_operator.web.webhooks import MOST_BODY_BYTES, Running, Webhooks

# Connections at once: of all, and of one address, which is a whole node where pods use its network.
MOST_CONNECTIONS = 256
MOST_CONNECTIONS_OF_ONE = 64
# How long a connection may stay without a whole request's header.
_IDLE_SECONDS = 30.0
_BUFFER_BYTES = 16 * 1024
_MOST_SCRAPES = 2


class HttpServer:
    """Serves on one port, of all interfaces unless a host is named."""

    def __init__(self, runtime: Running, metrics: Metrics, port: int, host: str | None = None) -> None:
        self._runtime = runtime
        self._metrics = metrics
        self._port = port
        self._host = host
        self._scrapes = asyncio.Semaphore(_MOST_SCRAPES)
        self._webhooks = Webhooks(runtime, metrics)
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to serve; raises OSError when the port is taken."""
        application = web.Application(client_max_size=MOST_BODY_BYTES)
        application.add_routes(
            [
                web.get("/metrics", self._serve_metrics),
                web.get("/readyz", self._serve_ready),
                web.post("/webhooks/{namespace}/{name}", self._webhooks.receive),
            ]
        )
        self._runner = runner = web.AppRunner(
            application,
            access_log=None,
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=1.0,
            read_bufsize=_BUFFER_BYTES,
            auto_decompress=False,  # nobody who sends here compresses
            max_line_size=2048,
            max_field_size=4096,
            max_headers=32,
        )
        await runner.setup()
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: _Entrance(runner), self._host, self._port)

    @property
    def port(self) -> int:
        """Return the port that is served: the system's choice when a host and port 0 were asked for."""
        assert self._listening is not None
        return int(self._listening.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop serving."""
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._listening, self._runner = None, None

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        async with self._scrapes:
            text = await asyncio.to_thread(generate_latest, self._metrics.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _serve_ready(self, _: web.Request) -> web.Response:
        if self._runtime.alive:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="the caches are not filled yet\n")


class _Entrance(asyncio.Protocol):
    """Hands a new connection on to what serves it, or closes it when there are too many."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count them: all, and those of the address that this one comes from."""
        server = self._runner.server
        connection = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        open_now = [handler.transport for handler in server.connections] if server else []
        address = _address(connection)
        same = sum(_address(other) == address for other in open_now if other is not None)
        if server is None or len(open_now) >= MOST_CONNECTIONS or same >= MOST_CONNECTIONS_OF_ONE:
            connection.abort()
            return
        handler = server()
        connection.set_protocol(handler)
        handler.connection_made(connection)


def _address(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""
