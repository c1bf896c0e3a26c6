"""The operator's own HTTP endpoints: metrics, readiness, and webhooks from LiveKit servers.

Webhooks are hints: they make a room looked at within milliseconds. Whatever they say is asked of the server again, and
nothing depends on their arriving.
"""

import asyncio

from aiohttp import web
from livekit import api
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from livekit_operator.clients.livekit import room_view
from livekit_operator.conditions import holds
from livekit_operator.constants import CONDITION_PROGRESSING
from livekit_operator.engine.cache import Key
from livekit_operator.metrics import Metrics
from livekit_operator.reconcilers.context import ServerAccess
from livekit_operator.reconcilers.runtime import Runtime

# livekit-server sends one event a request, with the room's metadata: usually 512 KiB at most, and quotes count twice.
_MAX_BODY_BYTES = 2 * 1024 * 1024
# Events after which a server may have nobody left.
_LEAVING = ("participant_left", "room_finished")


class HttpServer:
    """Serves on one port, of all interfaces unless a host is named."""

    def __init__(self, runtime: Runtime, metrics: Metrics, port: int, host: str | None = None) -> None:
        self._runtime = runtime
        self._metrics = metrics
        self._port = port
        self._host = host
        application = web.Application(client_max_size=_MAX_BODY_BYTES)
        application.add_routes(
            [
                web.get("/metrics", self._serve_metrics),
                web.get("/readyz", self._serve_ready),
                web.post("/webhooks/{namespace}/{name}", self._receive_webhook),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self) -> None:
        """Begin to serve; raises OSError when the port is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    @property
    def port(self) -> int:
        """Return the port that is served: the system's choice when a host and port 0 were asked for."""
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop serving."""
        await self._runner.cleanup()

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        text = await asyncio.to_thread(generate_latest, self._metrics.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _serve_ready(self, _: web.Request) -> web.Response:
        if self._runtime.alive:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="the caches are not filled yet\n")

    async def _receive_webhook(self, request: web.Request) -> web.Response:
        server = (request.match_info["namespace"], request.match_info["name"])
        access = self._runtime.context.servers.get(server)
        try:
            body = (await request.read()).decode(errors="replace")
        except web.HTTPRequestEntityTooLarge:
            self._metrics.webhooks.labels("refused").inc()
            raise
        event = _verified(access, body, request.headers.get("Authorization", "")) if access else None
        if access is None or event is None:
            self._metrics.webhooks.labels("refused").inc()
            return web.Response(status=401, text="not signed with this server's key\n")
        self._metrics.webhooks.labels("accepted").inc()
        if event.event in _LEAVING and self._is_changing(server):
            self._runtime.context.wake("LiveKitServer", server)
        users = self._runtime.context.users
        declared = bool(users.of_room(server, event.room.name))
        if event.room.name and (declared or users.with_prefix(server)):
            _take_over(access, event, declared=declared)
            self._runtime.context.wake_room(server, event.room.name)
        return web.Response(text="ok\n")

    def _is_changing(self, server: Key) -> bool:
        """Return whether servers wait for their rooms: only then is it worth a look when somebody leaves."""
        manifest = self._runtime.context.resources["LiveKitServer"].get(server) or {}
        return holds((manifest.get("status") or {}).get("conditions"), CONDITION_PROGRESSING)


def _verified(access: ServerAccess, body: str, authorization: str) -> api.WebhookEvent | None:
    """Return the event of a request that was signed with one of the server's keys, else None."""
    # While keys rotate, a server signs with the one that was in use when it started.
    for key in access.accepted:
        verifier = api.TokenVerifier(key.id, key.secret)
        try:
            return api.WebhookReceiver(verifier).receive(body, authorization.removeprefix("Bearer "))
        except Exception:  # noqa: BLE001, S112 - the receiver raises bare Exceptions; whatever is wrong, it is refused
            continue
    return None


def _take_over(access: ServerAccess, event: api.WebhookEvent, *, declared: bool) -> None:
    known = access.rooms.get(event.room.name)
    if event.event == "room_finished":
        # An older room of that name may end after a new one was made.
        if known is not None and known.sid == event.room.sid:
            access.rooms.close(event.room.name, event.room.sid)
    elif event.event.startswith("participant_"):
        if known is None and not declared and access.rooms.listed and event.event == "participant_joined":
            # Made since the last listing. Whoever looks at it asks the server who is there.
            access.rooms.put(room_view(event.room))
        access.rooms.lively.add(event.room.name)
