"""VoiceAgentPool: one pass, from its pods and versions to how many there should be, and to its rooms."""

from dataclasses import replace

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked, NamespaceTerminating, Problem, ServerNotAllowed
from livekit_operator.pools.apply import apply, protect
from livekit_operator.pools.context import Context
from livekit_operator.pools.decide import decide, decide_versions
from livekit_operator.pools.keep import keep_versions
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.metrics import PoolMetrics
from livekit_operator.pools.observe import observe, observe_runnable
from livekit_operator.pools.pods import Pods, observe_pods, remember
from livekit_operator.pools.prepare import prepare, restore_labels
from livekit_operator.pools.refused import dismiss
from livekit_operator.pools.status import count_remains, halted, status
from livekit_operator.pools.tell_rooms import tell_rooms
from livekit_operator.reconciling.frame import reconcile
from livekit_operator.reconciling.status import Outcome, plain, terminating


async def reconcile_pool(context: Context, key: Key) -> float | None:
    """Reconcile one VoiceAgentPool."""
    return await reconcile(context, VoiceAgentPool, key, _pass)


async def _pass(context: Context, pool: VoiceAgentPool) -> Outcome | None:
    if pool.metadata.deletion_timestamp:
        if memory := context.pools.get(pool.key):
            memory.offer_nothing()
        return None  # everything of it is inside Kubernetes: the garbage collector does the rest
    memory = context.pool_memory(pool.key)
    memory.refusals.begin()
    try:
        prepared = await prepare(context, pool, memory)
    except ServerNotAllowed as refused:
        return await dismiss(context, pool, refused.problem)
    except Blocked as blocked:
        memory.offer_nothing()
        await restore_labels(context, pool, memory)
        pods = await observe_pods(context, pool, memory)
        remember(memory, pods, context.now())
        return _halt(pool, pods, memory, blocked.problem)
    if prepared is None:
        return None
    observed = await observe(context, pool, memory, prepared)
    # First what serves now, whatever comes of the rest: calls must find agents also where nothing new can be made.
    lost = remember(memory, observed.pods, context.now())
    tell_rooms(context, pool, memory, observed, decide_versions(pool, observed.wanted, observed.known), lost)
    poll = context.settings.pool_poll_seconds
    try:
        await protect(context, pool, memory, observed.pods, observed.known)
        # Two steps: what the API server refuses to keep of the versions changes which of them can run.
        kept = await keep_versions(context, pool, memory, observed)
        rollout = decide_versions(pool, kept.revision, kept.known)
        runnable = await observe_runnable(context, pool, memory, observed, kept, rollout)
        plan = decide(pool, observed, runnable)
        done = await apply(context, pool, memory, observed, plan)
    except Blocked as blocked:
        problem = replace(blocked.problem, retry_after=min(poll, blocked.problem.retry_after or poll))
        return _halt(pool, observed.pods, memory, problem)
    except NamespaceTerminating:
        return terminating(pool, count_remains(pool, observed.pods, memory.count()))
    outcome = status(pool, observed, plan, done)
    if outcome.fields:
        context.metrics.of(PoolMetrics).show(*pool.key, plain(outcome.fields))
    return replace(outcome, again=min(poll, plan.again))


def _halt(pool: VoiceAgentPool, pods: Pods, memory: PoolMemory, problem: Problem) -> Outcome:
    """End a pass that cannot go on; rooms report the same problem."""
    memory.problem = problem
    return halted(pool, pods, memory.count(), problem)
