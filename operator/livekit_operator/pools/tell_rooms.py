"""What a pool tells its rooms: which places are free, and which rooms to wake."""

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.pools import rooms_by_name
from livekit_operator.pools import status as pool_status
from livekit_operator.pools.context import Context
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.pools.manifests import versions
from livekit_operator.pools.memory import Free, PoolMemory
from livekit_operator.pools.observe import Observation
from livekit_operator.pools.rooms_by_name import wake_dirty_rooms
from livekit_operator.reconciling.links import is_undeclared
from livekit_operator.reconciling.references import target
from livekit_operator.servers.memory import ServerAccess


def offer(pool: VoiceAgentPool, observed: Observation, memory: PoolMemory, rollout: Rollout) -> None:
    """Publish to rooms how many calls could be taken."""
    memory.shared = bool(pool.spec.allowed_namespaces)
    memory.stable = Free("", pool_status.free_sessions(pool, observed, ""))
    memory.canary, memory.canary_weight = None, 0
    canary = pool.spec.rollout.canary
    if rollout.canary and canary:
        deployment = versions.canary_deployment(rollout.canary)
        memory.canary = Free(deployment, pool_status.free_sessions(pool, observed, deployment))
        memory.canary_weight = canary.weight


def tell_rooms(
    context: Context, pool: VoiceAgentPool, access: ServerAccess, memory: PoolMemory, observed: Observation
) -> None:
    """Wake rooms whose agent died, and waiting rooms for which there are free agents now."""
    server = target(pool, pool.spec.server_ref)
    for name in observed.lost_rooms:
        access.rooms.dirty.add(name)
        context.wake_room(server, name)
    users = set(context.users.of_pool(pool.key))
    for room in memory.rooms - users:
        if not is_undeclared(room):
            memory.served(room)  # it is gone, or names this pool no more
    rooms_by_name.forget_former(context, pool, access, memory)
    wake_dirty_rooms(context, pool, access)
    if observed.heard:
        for room in memory.missed():
            access.rooms.dirty.add(memory.joined[room].name)
            context.wake_served(room)
    for room in memory.next_in_line():
        # One that does not take its place must not keep it from the others.
        memory.waiting[room] = context.now()
        context.wake_served(room)
