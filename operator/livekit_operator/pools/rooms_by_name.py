"""Rooms that no MeetingRoom declares, as seen by the pool that serves its prefix."""

from collections.abc import Iterable, Sequence

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.conditions import Observed
from livekit_operator.constants import CONDITION_ROOM_PREFIX
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked
from livekit_operator.pools.access import pool_at
from livekit_operator.pools.context import Context
from livekit_operator.pools.decisions.room_prefixes import Prefix, preferred, serving_pool
from livekit_operator.pools.links import wake_any_room
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.reconciling.references import target
from livekit_operator.servers.access import may_use
from livekit_operator.servers.links import by_name, is_undeclared, to_room, undeclared_room
from livekit_operator.servers.room_listing import RoomListing


def wake_dirty_rooms(context: Context, pool: VoiceAgentPool, rooms: RoomListing) -> None:
    """Wake the rooms of a pool's prefix where somebody joined or left."""
    server = target(pool, pool.spec.server_ref)
    if pool.spec.room_prefix is not None:
        for name in _served(context, pool, rooms.dirty):
            wake_any_room(context, undeclared_room(server, name))


def forget_former(context: Context, pool: VoiceAgentPool, rooms: RoomListing, memory: PoolMemory) -> None:
    """Forget the rooms that were the pool's by name and no longer are, or are gone."""
    known = {room for room in memory.rooms if is_undeclared(room)}
    served = _served(context, pool, {name for _, name in known if rooms.get(name)}) if known else ()
    for room in known:
        if room[1] not in served:
            memory.release(room)
            wake_any_room(context, room)


def describe(pool: VoiceAgentPool, prefixes: Sequence[Prefix]) -> list[Observed]:
    """Return which rooms a pool serves for their names, as a condition; none for one without a prefix."""
    text, server = pool.spec.room_prefix, target(pool, pool.spec.server_ref)
    if text is None:
        return []
    own = Prefix(pool.key, text, pool.metadata.creation_timestamp or "")
    taken, longer = preferred(own, prefixes)
    if taken:
        message = (
            f"VoiceAgentPool {taken[1]} is older, has the same roomPrefix and serves the rooms: choose another one."
        )
        return [Observed(CONDITION_ROOM_PREFIX, False, reasons.ROOM_PREFIX_TAKEN, message)]
    shown = text if pool.metadata.namespace == server[0] else f"{pool.metadata.namespace}/{text}"
    rest = "".join(f" Those that begin with {other.text} are VoiceAgentPool {other.pool[1]}'s." for other in longer)
    whose = f" whose names begin with {shown}" if shown else ", whatever their names without a /,"
    message = f"Rooms without a MeetingRoom{whose} get an agent.{rest}"
    return [Observed(CONDITION_ROOM_PREFIX, True, reasons.ACCEPTED, message)]


def _served(context: Context, pool: VoiceAgentPool, names: Iterable[str]) -> set[str]:
    """Return the names of those rooms that the pool serves."""
    server = target(pool, pool.spec.server_ref)
    prefixes = prefixes_of(context, server)
    ours = {name for name in names if serving_pool(name, server[0], prefixes) == pool.key}
    return {name for name in ours if not context.users.of(to_room(server, name))}


def prefixes_of(context: Context, server: Key) -> Sequence[Prefix]:
    """Return the prefixes of the pools that the server lets use it."""
    found = []
    for key in context.users.keys_of(by_name(server)):
        try:
            pool = pool_at(context, key)
        except Blocked:
            continue
        if pool is None or pool.metadata.deletion_timestamp or pool.spec.room_prefix is None:
            continue
        if not may_use(context, pool):
            continue
        found.append(Prefix(key, pool.spec.room_prefix, pool.metadata.creation_timestamp or ""))
    return found
