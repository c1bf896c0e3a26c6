"""What a pool tells its rooms: which places are free, why there is none, and which rooms to wake."""

from collections.abc import Iterable

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.errors import Problem
from livekit_operator.pools.context import Context
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.pools.links import to_rooms, wake_any_room
from livekit_operator.pools.manifests import versions
from livekit_operator.pools.memory import Free, PoolMemory
from livekit_operator.pools.observe import Observation
from livekit_operator.pools.pods import Pods, free_sessions
from livekit_operator.pools.rooms_by_name import forget_former, wake_dirty_rooms
from livekit_operator.reconciling.references import target
from livekit_operator.servers.links import is_undeclared, wake_room


def offer(pool: VoiceAgentPool, pods: Pods, memory: PoolMemory, rollout: Rollout) -> None:
    """Publish to rooms how many calls could be taken."""
    memory.shared = bool(pool.spec.allowed_namespaces)
    memory.stable = Free("", free_sessions(pool, pods, ""))
    memory.canary, memory.canary_weight = None, 0
    canary = pool.spec.rollout.canary
    if rollout.canary and canary:
        deployment = versions.canary_deployment(rollout.canary)
        memory.canary = Free(deployment, free_sessions(pool, pods, deployment))
        memory.canary_weight = canary.weight


def tell_rooms(
    context: Context,
    pool: VoiceAgentPool,
    memory: PoolMemory,
    observed: Observation,
    rollout: Rollout,
    lost: Iterable[str],
) -> None:
    """Offer what serves now, and wake rooms whose agent died, and waiting ones for which there are free agents.

    `lost` are the names of the rooms whose call died with its worker.
    """
    offer(pool, observed.pods, memory, rollout)
    rooms, pods = observed.rooms, observed.pods
    server = target(pool, pool.spec.server_ref)
    for name in lost:
        rooms.dirty.add(name)
        wake_room(context, server, name)
    users = set(context.users.keys_of(*to_rooms(pool.key)))
    for room in memory.rooms - users:
        if not is_undeclared(room):
            memory.release(room)  # it is gone, or names this pool no more
    forget_former(context, pool, rooms, memory)
    wake_dirty_rooms(context, pool, rooms)
    if pods.heard:
        for room in memory.missed():
            rooms.dirty.add(memory.joined[room].name)
            wake_any_room(context, room)
    for room in memory.next_in_line():
        # One that does not take its place must not keep it from the others.
        memory.waiting[room] = context.now()
        wake_any_room(context, room)


def tell_why(context: Context, memory: PoolMemory, problem: Problem | None) -> None:
    """Keep the reason why rooms get no agent; those that wait report it, so they are woken when it is another one."""
    before, memory.problem = memory.problem and memory.problem.reason, problem
    if (problem and problem.reason) != before:
        for room in memory.waiting.keys() | memory.unanswered.keys():
            wake_any_room(context, room)
