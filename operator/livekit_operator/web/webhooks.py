"""Webhooks from LiveKit servers.

They are hints: they make a room's pass come within milliseconds. The server is asked again for whatever they say, and
nothing depends on their arriving. Anybody in the cluster can send something here, so nothing is read of a request that
no known server has signed, and of those not more than is stated here.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from aiohttp import web
from livekit import api

from livekit_operator.clients.livekit import MOST_ROOMS
from livekit_operator.clients.livekit_views import room_view
from livekit_operator.conditions import holds
from livekit_operator.constants import CONDITION_PROGRESSING
from livekit_operator.engine.cache import Key
from livekit_operator.metrics import Metrics
from livekit_operator.servers.context import Context
from livekit_operator.servers.credentials import credentials_of
from livekit_operator.servers.links import by_name, to_room, wake_room
from livekit_operator.servers.memory import Credentials
from livekit_operator.servers.room_listing import RoomListing

# livekit-server sends one event a request, with the room's metadata: usually 512 KiB at most, and quotes count twice.
MOST_BODY_BYTES = 2 * 1024 * 1024
# How long a body may take to arrive, and how many may at once: of all servers, and of each.
BODY_SECONDS = 10.0
MOST_BODIES = 16
MOST_BODIES_OF_ONE = 4
# How long a request waits for its turn. livekit-server tries again what is refused then.
_TURN_SECONDS = 2.0
# Events after which a server may have nobody left.
_LEAVING = ("participant_left", "room_finished")


class Running(Protocol):
    """The running operator, as far as its endpoints ask it."""

    @property
    def context(self) -> Context:
        """Return what is known of servers, and what wakes those whom an event concerns."""

    @property
    def leading(self) -> bool:
        """Return whether passes run here, or are about to."""

    @property
    def alive(self) -> bool:
        """Return whether every part runs."""


class Webhooks:
    """Takes events of servers that are known."""

    def __init__(self, runtime: Running, metrics: Metrics) -> None:
        self._runtime = runtime
        self._metrics = metrics
        self._turns = _Turns()

    async def receive(self, request: web.Request) -> web.Response:
        """Answer a request; one that no known server has signed is refused without reading its body."""
        server = (request.match_info["namespace"], request.match_info["name"])
        known = credentials_of(self._runtime.context, server)
        authorization = request.headers.get("Authorization", "").removeprefix("Bearer ")
        receiver = _receiver(known, authorization) if known else None
        if receiver is None:
            return self._refused(401, "not signed with this server's key\n")
        if (request.content_length or 0) > MOST_BODY_BYTES:
            return self._refused(413, "too long\n")
        try:
            async with self._turns.of(server):
                async with asyncio.timeout(BODY_SECONDS):
                    body = await request.read()
                event = _event(receiver, body.decode(errors="replace"), authorization)
        except web.HTTPRequestEntityTooLarge:
            return self._refused(413, "too long\n")
        except _NoTurn:
            return self._refused(429, "too many at once\n", "busy")
        except (TimeoutError, ConnectionError):
            return self._refused(408, "too slow, or gone\n")
        if event is None:
            return self._refused(401, "not signed with this server's key\n")
        self._metrics.webhooks.labels("accepted").inc()
        self._take_over(server, event)
        return web.Response(text="ok\n")

    def _refused(self, status: int, text: str, result: str = "refused") -> web.Response:
        self._metrics.webhooks.labels(result).inc()
        response = web.Response(status=status, text=text)
        response.force_close()  # what is not read of it does not keep the connection
        return response

    def _take_over(self, server: Key, event: api.WebhookEvent) -> None:
        if event.event in _LEAVING and self._is_changing(server):
            self._runtime.context.wake("LiveKitServer", server)
        users = self._runtime.context.users
        declared = bool(users.of(to_room(server, event.room.name)))
        if event.room.name and (declared or users.of(by_name(server))):
            if connection := self._runtime.context.servers.get(server):
                _note(connection.rooms, event, declared=declared)
            elif declared and self._runtime.leading and event.event.startswith("participant_"):
                self._keep(server, event.room.name)
            wake_room(self._runtime.context, server, event.room.name)

    def _keep(self, server: Key, room: str) -> None:
        """Have the server's first pass here hear of a room: its first listing may not have who has just joined."""
        rooms = self._runtime.context.unheard.setdefault(server, set())
        if len(rooms) < MOST_ROOMS:
            rooms.add(room)

    def _is_changing(self, server: Key) -> bool:
        """Return whether servers wait for their rooms: only then does it matter to them when somebody leaves."""
        manifest = self._runtime.context.resources["LiveKitServer"].get(server) or {}
        return holds((manifest.get("status") or {}).get("conditions"), CONDITION_PROGRESSING)


class _NoTurn(Exception):
    """Too many bodies are being read, and none came to its end in time."""


class _Turns:
    """Lets so many bodies be read at once, of all servers and of each."""

    def __init__(self) -> None:
        self._of: Counter[Key] = Counter()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def of(self, server: Key) -> AsyncIterator[None]:
        """Wait for a turn and give it back at the end; raises _NoTurn."""
        try:
            async with asyncio.timeout(_TURN_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._is_free(server))
                self._of[server] += 1
        except TimeoutError as error:
            raise _NoTurn from error
        try:
            yield
        finally:
            self._of[server] -= 1
            self._of += Counter()  # forgets those without any
            async with self._changed:
                self._changed.notify_all()

    def _is_free(self, server: Key) -> bool:
        return self._of.total() < MOST_BODIES and self._of[server] < MOST_BODIES_OF_ONE


def _receiver(known: Credentials, token: str) -> api.WebhookReceiver | None:
    """Return what reads a request that one of the server's keys has signed, for its body and not as a guest's token."""
    # While keys rotate, a server signs with the one that was in use when it started.
    for key in known.accepted:
        verifier = api.TokenVerifier(key.id, key.secret)
        try:
            claims = verifier.verify(token)
        except Exception:  # noqa: BLE001, S112 - whatever is wrong with it, it is refused
            continue
        if claims.sha256:
            return api.WebhookReceiver(verifier)
    return None


def _event(receiver: api.WebhookReceiver, body: str, token: str) -> api.WebhookEvent | None:
    try:
        return receiver.receive(body, token)
    except Exception:  # noqa: BLE001 - the receiver raises bare Exceptions; whatever is wrong, it is refused
        return None


def _note(rooms: RoomListing, event: api.WebhookEvent, *, declared: bool) -> None:
    known = rooms.get(event.room.name)
    if event.event == "room_finished":
        # An older room of that name may end after a new one was made.
        if known is not None and known.sid == event.room.sid:
            rooms.close(event.room.name, event.room.sid)
    elif event.event.startswith("participant_"):
        if known is None and not declared and rooms.listed and event.event == "participant_joined":
            # Made since the last listing. Its pass asks the server who is there.
            with suppress(ValueError):  # a name that no room has
                known = room_view(event.room) if len(rooms) < MOST_ROOMS else None
            if known is not None:
                rooms.put(known)
        if known is not None or declared:
            rooms.dirty.add(event.room.name)
