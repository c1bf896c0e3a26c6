"""Rooms that no MeetingRoom declares and that a pool serves by a prefix of their names.

    key   ("<namespace>/<name>" of the LiveKitServer, name of the room)

Apps create such rooms, or people by joining them. They appear and disappear with listings and webhooks; there is no
resource, so nothing of them outlives the operator except what LiveKit knows itself.
"""

from livekit_operator.api.common import ObjectRef
from livekit_operator.api.meetingroom import RoomAgent
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.engine.cache import Key
from livekit_operator.errors import ServerRefused, ServerUnreachable
from livekit_operator.pools.access import pool_at
from livekit_operator.pools.decisions.room_prefixes import serving_pool
from livekit_operator.pools.manifests.children import agent_name
from livekit_operator.pools.rooms_by_name import prefixes_of
from livekit_operator.rooms.agents import serve
from livekit_operator.rooms.candidates import Candidate, Wanted
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions.scene import Reported
from livekit_operator.servers.access import access_at
from livekit_operator.servers.links import is_undeclared, to_room

_RETRY_SECONDS = 5.0


async def reconcile_undeclared_room(context: Context, key: Key) -> float | None:
    """Reconcile one such room; return the seconds until the next pass, None when a change will bring it."""
    namespace, _, name = key[0].partition("/")
    access = access_at(context, (namespace, name))
    view = access.rooms.get(key[1]) if access else None
    pool = _pool_of(context, (namespace, name), key[1])
    for other, memory in context.pools.items():
        if pool is None or view is None or other != pool.key:
            memory.release(key)
    if access is None or view is None or pool is None:
        context.asked_agents.pop(key, None)
        return None
    try:
        (agent,) = (await serve(context, _wanted(context, key, pool), access, view)).agents
    except ServerUnreachable as error:
        return error.retry_after or _RETRY_SECONDS
    except ServerRefused:
        return _RETRY_SECONDS
    return agent.decision.again


def forget_undeclared(context: Context) -> None:
    """Forget how such rooms were given agents where their server or the pool that served them is gone."""
    for key in [key for key in context.asked_agents if is_undeclared(key)]:
        namespace, _, name = key[0].partition("/")
        server = namespace, name
        if server not in context.servers or _pool_of(context, server, key[1]) is None:
            context.asked_agents.pop(key, None)
            for memory in context.pools.values():
                memory.release(key)


def _pool_of(context: Context, server: Key, name: str) -> VoiceAgentPool | None:
    """Return the pool that serves a room by name, None for one that a MeetingRoom declares."""
    if context.users.of(to_room(server, name)):
        return None
    key = serving_pool(name, server[0], prefixes_of(context, server))
    return pool_at(context, key) if key else None


def _wanted(context: Context, key: Key, pool: VoiceAgentPool) -> Wanted:
    asked, name = context.asked_agents.get(key, {}), agent_name(pool)
    # Of another name, if the pool was renamed or another pool now serves the room: a call goes on with its agent.
    others = [other for other in asked if other != name]
    memory = context.pool_memory(pool.key)
    reference = RoomAgent(pool_ref=ObjectRef(name=pool.metadata.name, namespace=pool.metadata.namespace))
    candidate = Candidate(reference, pool.metadata.name, pool.key, name, memory)
    before = {candidate.shown: Reported(others[-1])} if others else {}
    return Wanted(key, [candidate], before, any(agent.calls for agent in asked.values()), declared=False)
