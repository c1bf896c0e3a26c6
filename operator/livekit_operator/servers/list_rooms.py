"""The one listing of a server's rooms, and which resources it wakes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.engine.cache import Key
from livekit_operator.errors import ServerRefused, ServerUnreachable
from livekit_operator.outside import MOST_COUNT
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.breaker import Breaker
from livekit_operator.servers.decisions.key_rotation import KeyState
from livekit_operator.servers.decisions.rollout import one_to_ask
from livekit_operator.servers.guarded import Guarded
from livekit_operator.servers.manifests.keys import ServerKeys
from livekit_operator.servers.manifests.names import is_shared
from livekit_operator.servers.manifests.reach import internal_url
from livekit_operator.servers.memory import ServerAccess
from livekit_operator.servers.status import Observation
from livekit_operator.views import RoomView

# A server lists its rooms within milliseconds; a connection that a node sends to a lost one waits in vain.
_LISTING_SECONDS = 3.0
# How often a server is asked through its Service, though it has listed its rooms itself.
_ASKED_AS_OTHERS_DO = timedelta(seconds=30)
# How long servers believe that a lost one still has its rooms, so that requests for these wait for it.
# Source: livekit-server pkg/routing/selector/utils.go AvailableSeconds
_BELIEVED_IN = timedelta(seconds=5)


async def list_rooms(context: Context, server: LiveKitServer, observed: Observation, keys: KeyState) -> Observation:
    """List the rooms when a server answers, and wake the resources of those that changed."""
    # Pools can be prepared before the first server answers; they need only its keys and URL.
    access = await _connect(context, server, keys, observed)
    if observed.look.lost and is_shared(server):
        access.missed = access.missed or context.now()
        context.lost_replica.add(server.key)
    # Not only ready servers: one that drains still has rooms. Those that are gone must not seem to have them.
    if observed.reach.url is None or not any(view.ready or view.leaving for view in observed.look.views):
        access.rooms.forget()
        return observed
    rooms = _told_already(context, access, observed)
    if rooms is None:
        access.rooms.start_listing()
        try:
            async with asyncio.timeout(_LISTING_SECONDS):
                rooms = await access.client.list_rooms()
        except (ServerUnreachable, ServerRefused, TimeoutError) as error:
            access.rooms.forget()
            access.answered = None
            return replace(observed, unlisted=str(error) or "no answer in time")
        access.answered = context.now()
    _wake_rooms(context, server.key, access.rooms.finish_listing(rooms))
    if access.missed is not None and context.now() - access.missed >= _BELIEVED_IN:
        # Not before: until now servers would forward requests for such a room to the lost one.
        access.missed = None
        context.lost_replica.discard(server.key)
        access.rooms.mark_unverified()
        context.wake_users(server.key)
    participants = min(sum(room.participants for room in rooms), MOST_COUNT)
    return replace(observed, rooms=len(rooms), participants=participants)


def _told_already(context: Context, access: ServerAccess, observed: Observation) -> Sequence[RoomView] | None:
    """Return the rooms of a single server without Redis, which listed them when it was observed.

    Now and then it is asked through its Service as well, as everybody else asks it.
    """
    servers = observed.look.servers
    if len(servers) != 1 or len(observed.serving) != 1:
        return None
    if access.answered is None or context.now() - access.answered >= _ASKED_AS_OTHERS_DO:
        return None
    load = servers[0].load
    return load.listing if load else None


async def _connect(context: Context, server: LiveKitServer, keys: KeyState, observed: Observation) -> ServerAccess:
    """Return the access to a server, a new one when keys or URLs changed, and wake what waits for it."""
    internal, external = internal_url(server), observed.reach.url or ""
    wanted = ServerKeys(keys.in_use.id, keys.in_use.secret, internal, external)
    access = context.servers.get(server.key)
    name = one_to_ask(observed.look.views, already=access is not None and access.url != internal)
    url = next((item.signal_url for item in observed.look.servers if item.view.name == name), internal)
    if access is not None and access.keys == wanted and access.url == url:
        access.accepted, access.claims_since = keys.accepted, keys.claims_since
        return access
    if access is not None:
        await access.client.close()
    client = _guarded(context, server.key, context.connect(url, keys.in_use.id, keys.in_use.secret))
    if access is not None and access.keys == wanted:
        access.client, access.url, access.accepted, access.answered = client, url, keys.accepted, None
        return access
    fresh = ServerAccess(client, wanted, keys.accepted, url=url, claims_since=keys.claims_since)
    if access is not None:
        fresh.rooms.unverified, fresh.missed = set(access.rooms.unverified), access.missed
    context.servers[server.key] = fresh
    context.wake_users(server.key)
    return fresh


def _guarded(context: Context, server: Key, client: LiveKit) -> LiveKit:
    """Return a client through the breaker; rooms are woken when a server that hung answers again."""
    breaker = context.breakers.setdefault(server, Breaker())

    def turned() -> None:
        context.wake("LiveKitServer", server)
        if not breaker.open:
            context.wake_users(server)

    return Guarded(client, breaker, context.now, turned).client


def _wake_rooms(context: Context, server: Key, changed: set[str] | None) -> None:
    """Wake the rooms that a listing shows changed; None means all of them, after the first listing."""
    if changed is None:
        context.wake_users(server)
        return
    for name in changed:
        context.wake_room(server, name)
