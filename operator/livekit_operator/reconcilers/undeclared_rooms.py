"""Rooms that no MeetingRoom declares and that a pool serves for how their names begin.

    key   ("<namespace>/<name>" of the LiveKitServer, name of the room)

Apps make such rooms, or people by joining them. They come and go with what the server lists and what webhooks say;
there is no resource, so nothing of them outlives the operator but what LiveKit knows itself.
"""

from collections.abc import Iterable, Sequence

from livekit_operator.api.common import ObjectRef
from livekit_operator.api.meetingroom import RoomAgent
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.conditions import Observed
from livekit_operator.constants import CONDITION_ROOM_PREFIX
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked, ServerRefused, ServerUnreachable
from livekit_operator.pool_memory import PoolMemory
from livekit_operator.reconcilers.context import Context, ServerAccess, is_undeclared, undeclared_room
from livekit_operator.reconcilers.references import may_use, pool_at, target
from livekit_operator.reconcilers.room_agents import Candidate, Wanted, serve
from livekit_operator.resources.voiceagentpool import agent_name
from livekit_operator.room_prefixes import Prefix, preferred, serving_pool

_RETRY_SECONDS = 5.0


async def reconcile_undeclared_room(context: Context, key: Key) -> float | None:
    """Look after one such room; return the seconds until the next look, None when a change will bring it."""
    namespace, _, name = key[0].partition("/")
    access = context.servers.get((namespace, name))
    view = access.rooms.get(key[1]) if access else None
    pool = _pool_of(context, (namespace, name), key[1])
    for other, memory in context.pools.items():
        if pool is None or view is None or other != pool.key:
            memory.served(key)
    if access is None or view is None or pool is None:
        context.asked_agents.pop(key, None)
        return None
    try:
        _, (agent,) = await serve(context, _wanted(context, key, pool), access, view)
    except ServerUnreachable as error:
        return error.retry_after or _RETRY_SECONDS
    except ServerRefused:
        return _RETRY_SECONDS
    return agent.decision.again


def wake_lively(context: Context, pool: VoiceAgentPool, access: ServerAccess) -> None:
    """Have the rooms of a pool's prefix looked at where somebody came or went."""
    server = target(pool, pool.spec.server_ref)
    if pool.spec.room_prefix:
        for name in _served(context, pool, access.rooms.lively):
            context.wake_served(undeclared_room(server, name))


def forget_former(context: Context, pool: VoiceAgentPool, access: ServerAccess, memory: PoolMemory) -> None:
    """Forget the rooms that were the pool's for their names and are not any more, or are gone."""
    known = {room for room in memory.rooms if is_undeclared(room)}
    served = _served(context, pool, {name for _, name in known if access.rooms.get(name)}) if known else ()
    for room in known:
        if room[1] not in served:
            memory.served(room)
            context.wake_served(room)


def describe(context: Context, pool: VoiceAgentPool) -> list[Observed]:
    """Return which rooms a pool serves for their names, as a condition; none for one without a prefix."""
    text, server = pool.spec.room_prefix, target(pool, pool.spec.server_ref)
    if not text:
        return []
    own = Prefix(pool.key, text, pool.metadata.creation_timestamp or "")
    taken, longer = preferred(own, _prefixes(context, server))
    if taken:
        message = (
            f"VoiceAgentPool {taken[1]} is older, has the same roomPrefix and serves the rooms: choose another one."
        )
        return [Observed(CONDITION_ROOM_PREFIX, False, "RoomPrefixTaken", message)]
    shown = text if pool.metadata.namespace == server[0] else f"{pool.metadata.namespace}/{text}"
    rest = "".join(f" Those that begin with {other.text} are VoiceAgentPool {other.pool[1]}'s." for other in longer)
    message = f"Rooms without a MeetingRoom whose names begin with {shown} get an agent.{rest}"
    return [Observed(CONDITION_ROOM_PREFIX, True, "Accepted", message)]


def _served(context: Context, pool: VoiceAgentPool, names: Iterable[str]) -> set[str]:
    """Return the names of those rooms that the pool serves."""
    server = target(pool, pool.spec.server_ref)
    prefixes = _prefixes(context, server)
    ours = {name for name in names if serving_pool(name, server[0], prefixes) == pool.key}
    return {name for name in ours if not context.users.of_room(server, name)}


def _pool_of(context: Context, server: Key, name: str) -> VoiceAgentPool | None:
    """Return the pool that serves a room for its name, None for one that a MeetingRoom declares."""
    if context.users.of_room(server, name):
        return None
    key = serving_pool(name, server[0], _prefixes(context, server))
    return pool_at(context, key) if key else None


def _prefixes(context: Context, server: Key) -> Sequence[Prefix]:
    """Return the prefixes of the pools that the server lets use it."""
    found = []
    for key in context.users.with_prefix(server):
        try:
            pool = pool_at(context, key)
        except Blocked:
            continue
        if pool is None or pool.metadata.deletion_timestamp or not pool.spec.room_prefix:
            continue
        if not may_use(context, pool):
            continue
        found.append(Prefix(key, pool.spec.room_prefix, pool.metadata.creation_timestamp or ""))
    return found


def _wanted(context: Context, key: Key, pool: VoiceAgentPool) -> Wanted:
    asked, name = context.asked_agents.get(key, {}), agent_name(pool)
    # Of another name, when the pool was renamed or another one has become the room's: a call goes on with its agent.
    others = [other for other in asked if other != name]
    memory = context.pool_memory(pool.key)
    reference = RoomAgent(pool_ref=ObjectRef(name=pool.metadata.name, namespace=pool.metadata.namespace))
    candidate = Candidate(reference, pool.metadata.name, pool.key, name, memory)
    before = {candidate.shown: {"agentName": others[-1]}} if others else {}
    return Wanted(key, [candidate], before, any(agent.calls for agent in asked.values()), declared=False)
