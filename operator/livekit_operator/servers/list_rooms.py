"""The one listing of a server's rooms, and which resources it wakes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.engine.cache import Key
from livekit_operator.errors import ServerRefused, ServerUnreachable
from livekit_operator.outside import MOST_COUNT
from livekit_operator.servers.context import Context
from livekit_operator.servers.credentials import credentials_of
from livekit_operator.servers.decisions.breaker import Breaker
from livekit_operator.servers.decisions.key_rotation import KeyState
from livekit_operator.servers.decisions.rollout import one_to_ask
from livekit_operator.servers.guarded import Guarded
from livekit_operator.servers.links import wake_room, wake_users
from livekit_operator.servers.manifests.keys import ServerKeys
from livekit_operator.servers.manifests.names import is_shared
from livekit_operator.servers.manifests.reach import internal_url
from livekit_operator.servers.memory import Connection
from livekit_operator.servers.pods import Replicas
from livekit_operator.views import RoomView

# A server lists its rooms within milliseconds; a connection that a node sends to a lost one waits in vain.
_LISTING_SECONDS = 3.0
# How often a server is asked through its Service, though it has listed its rooms itself.
_ASKED_AS_OTHERS_DO = timedelta(seconds=30)
# How long servers believe that a lost one still has its rooms, so that requests for these wait for it.
# Source: livekit-server pkg/routing/selector/utils.go AvailableSeconds
_BELIEVED_IN = timedelta(seconds=5)


@dataclass(frozen=True)
class Listed:
    """The rooms of a server and everybody in them, None while that is not known, and why it could not be listed."""

    rooms: int | None = None
    participants: int | None = None
    unlisted: str | None = None
    unverified: bool = False
    """Whether a server was lost, and its rooms are still to be created once more."""
    seconds: float = 0.0
    """When they are to be listed again."""


async def list_rooms(
    context: Context, server: LiveKitServer, replicas: Replicas, url: str | None, keys: KeyState
) -> Listed:
    """List the rooms when a server answers, and wake the resources of those that changed; `url` is what clients use."""
    connection = await _connect(context, server, keys, replicas)
    connection.shared = is_shared(server)
    if connection.external_url != (url or ""):
        connection.external_url = url or ""
        wake_users(context, server.key)
    credentials_of(context, server.key)  # known from now on, also when its spec is not understood any more
    if replicas.lost and is_shared(server):
        connection.missed = connection.missed or context.now()
        context.lost_replica.add(server.key)
    seconds = context.settings.server_poll_seconds
    # Not only ready servers: one that drains still has rooms. Those that are gone must not seem to have them.
    if url is None or not any(view.ready or view.leaving for view in replicas.views):
        connection.rooms.forget()
        return Listed(unverified=server.key in context.lost_replica, seconds=seconds)
    rooms = _told_already(context, connection, replicas)
    if rooms is None:
        connection.rooms.start_listing()
        try:
            async with asyncio.timeout(_LISTING_SECONDS):
                rooms = await connection.client.list_rooms()
        except (ServerUnreachable, ServerRefused, TimeoutError) as error:
            connection.rooms.forget()
            connection.answered = None
            why = str(error) or "no answer in time"
            return Listed(unlisted=why, unverified=server.key in context.lost_replica, seconds=seconds)
        connection.answered = context.now()
    _wake_rooms(context, server.key, connection.rooms.finish_listing(rooms))
    if connection.missed is not None and context.now() - connection.missed >= _BELIEVED_IN:
        # Not before: until now servers would forward requests for such a room to the lost one.
        connection.missed = None
        context.lost_replica.discard(server.key)
        connection.rooms.mark_unverified()
        wake_users(context, server.key)
    participants = min(sum(room.participants for room in rooms), MOST_COUNT)
    unverified, seconds = server.key in context.lost_replica, connection.rooms.listing_seconds(seconds)
    return Listed(len(rooms), participants, unverified=unverified, seconds=seconds)


def _told_already(context: Context, connection: Connection, replicas: Replicas) -> Sequence[RoomView] | None:
    """Return the rooms of a single server without Redis, which listed them when it was observed.

    Now and then it is asked through its Service as well, as everybody else asks it.
    """
    if len(replicas.every) != 1 or len(replicas.serving) != 1:
        return None
    if connection.answered is None or context.now() - connection.answered >= _ASKED_AS_OTHERS_DO:
        return None
    load = replicas.every[0].load
    return load.listing if load else None


async def _connect(context: Context, server: LiveKitServer, keys: KeyState, replicas: Replicas) -> Connection:
    """Return the connection to a server, a new one when its keys or URL changed, and wake what waits for it."""
    internal = internal_url(server)
    wanted = ServerKeys(keys.in_use.id, keys.in_use.secret, internal, "")
    connection = context.servers.get(server.key)
    name = one_to_ask(replicas.views, already=connection is not None and connection.url != internal)
    url = next((item.signal_url for item in replicas.every if item.view.name == name), internal)
    if connection is not None and connection.keys == wanted and connection.url == url:
        return connection
    if connection is not None:
        await connection.client.close()
    client = _guarded(context, server.key, context.connect(url, keys.in_use.id, keys.in_use.secret))
    if connection is not None and connection.keys == wanted:
        connection.client, connection.url, connection.answered = client, url, None
        return connection
    fresh = Connection(client, wanted, url)
    if connection is not None:
        fresh.rooms.unverified, fresh.missed = set(connection.rooms.unverified), connection.missed
    fresh.rooms.dirty = context.unheard.pop(server.key, set())
    context.servers[server.key] = fresh
    wake_users(context, server.key)
    return fresh


def _guarded(context: Context, server: Key, client: LiveKit) -> LiveKit:
    """Return a client through the breaker; rooms are woken when a server that hung answers again."""
    breaker = context.breakers.setdefault(server, Breaker())

    def turned() -> None:
        context.wake("LiveKitServer", server)
        if not breaker.open:
            wake_users(context, server)

    return Guarded(client, breaker, context.now, turned).client


def _wake_rooms(context: Context, server: Key, changed: set[str] | None) -> None:
    """Wake the rooms that a listing shows changed; None means all of them, after the first listing."""
    if changed is None:
        wake_users(context, server)
        return
    for name in changed:
        wake_room(context, server, name)
