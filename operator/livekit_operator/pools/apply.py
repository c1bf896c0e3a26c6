"""What a pool is to have, its pods among it, made as far as the API server lets us.

A quota or an admission policy may refuse any of it. That is told, and tried again later; what is there goes on being
looked after, and only a pod that could not do without is not made.
"""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import LABEL_BUSY
from livekit_operator.engine.cache import Manifest, key_of
from livekit_operator.errors import Blocked, NotFound, Problem
from livekit_operator.manifests.metadata import COMPONENT_AGENT, digest
from livekit_operator.manifests.permits import pod_refusal
from livekit_operator.pools.context import Context
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.pools.decisions.rollout import CANARY, Plan
from livekit_operator.pools.manifests import children as build
from livekit_operator.pools.manifests.pod import PodInputs, build_pod, busy_patch
from livekit_operator.pools.manifests.versions import PoolVersion
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.observe import Observation
from livekit_operator.reconciling import children
from livekit_operator.reconciling.ownership import is_owned
from livekit_operator.servers.memory import ServerAccess


async def remove(context: Context, memory: PoolMemory, kind: str, manifest: Manifest) -> None:
    """Delete a child, as far as that is taken."""
    what = f"the deletion of {kind} {manifest['metadata']['name']}"
    await memory.refusals.attempt(what, "", lambda: children.remove(context, kind, manifest), context.now())


async def ensure(context: Context, pool: VoiceAgentPool, memory: PoolMemory, desired: Manifest) -> bool:
    """Make a child as desired; return whether it is so now."""
    what = f"{desired['kind']} {desired['metadata']['name']}"
    write = partial(children.ensure, context, pool, desired)
    return await memory.refusals.attempt(what, digest(desired), write, context.now())


async def provide(context: Context, pool: VoiceAgentPool, access: ServerAccess, memory: PoolMemory) -> bool:
    """Make what pods need as desired; return whether new ones can do with what is there then."""
    keys = access.keys
    # One with a former key would be taken for one that has the new key.
    sufficient = await ensure(context, pool, memory, build.build_credentials(pool, keys.api_key, keys.api_secret))
    for desired in (build.build_service_account(pool), build.build_network_policy(pool, context.settings.namespace)):
        made = await ensure(context, pool, memory, desired)
        sufficient = (made or _is_there(context, pool, desired)) and sufficient
    return sufficient


def _is_there(context: Context, pool: VoiceAgentPool, desired: Manifest) -> bool:
    known = context.children[desired["kind"]].get(key_of(desired))
    return known is not None and is_owned(pool, known)


async def protect(context: Context, pool: VoiceAgentPool, memory: PoolMemory, observed: Observation) -> None:
    """Keep evictions off pods with calls, and off those alone.

    Never are fewer protected than have calls: marks go before the budget is lowered, and come after it is raised. They
    come also where the budget is refused: they keep autoscalers of nodes away.
    """
    pods = [pod for pod in observed.staying if "deletionTimestamp" not in pod.manifest["metadata"]]
    marked = {pod.view.name for pod in pods if (pod.manifest["metadata"].get("labels") or {}).get(LABEL_BUSY)}
    # One that never said whether it has calls stays as it is.
    busy = {p.view.name for p in pods if p.view.sessions or (p.view.sessions is None and p.view.name in marked)}
    kept = {name for name in sorted(marked - busy) if not await _mark(context, pool, memory, name, busy=False)}
    await ensure(context, pool, memory, build.build_budget(pool, len(busy | kept)))
    for name in sorted(busy - marked):
        await _mark(context, pool, memory, name, busy=True)


async def _mark(context: Context, pool: VoiceAgentPool, memory: PoolMemory, name: str, *, busy: bool) -> bool:
    async def write() -> None:
        with suppress(NotFound):
            await children.patch(context, pool, "Pod", name, busy_patch(busy))

    return await memory.refusals.attempt(f"the mark of Pod {name}", str(busy), write, context.now())


async def carry_out(
    context: Context,
    pool: VoiceAgentPool,
    access: ServerAccess,
    memory: PoolMemory,
    known: Mapping[str, PoolVersion],
    inputs: Mapping[str, PodInputs],
    rollout: Rollout,
    decided: Plan,
) -> int:
    """Make what pods need as desired, then delete and create the pods that were decided on; return how many came.

    A quota, a policy or overrides that collide may keep them from coming: the memory then has the problem, and what is
    there goes on serving.
    """
    sufficient = await provide(context, pool, access, memory)
    # What leaves goes first: under a quota it makes the room for what comes.
    for name in decided.delete:
        manifest = context.children["Pod"].get((pool.metadata.namespace, name))
        if manifest is not None:
            await remove(context, memory, "Pod", manifest)
    if not sufficient:
        return 0
    for number, track in enumerate(decided.create):
        version = known[(track == CANARY and (rollout.canary or rollout.retried)) or rollout.stable]
        make = partial(_make_pod, context, pool, version, track, inputs[version.revision])
        if not await memory.refusals.attempt("Pod", "", make, context.now()):
            return number
    return len(decided.create)


async def _make_pod(
    context: Context, pool: VoiceAgentPool, version: PoolVersion, track: str, inputs: PodInputs
) -> None:
    """Make a pod; raises Blocked when it cannot be, or is not let."""
    suffix = secrets.token_hex(3)
    pod = build_pod(pool, version, track, inputs, suffix)
    _check_allowed(context, pod)
    await children.make_pod(context, pool, COMPONENT_AGENT, pod, part=suffix)


def _check_allowed(context: Context, pod: Manifest) -> None:
    """Raise Blocked when the chart's values do not allow what a pod asks for."""
    if refused := pod_refusal(pod["spec"].get("priorityClassName"), context.settings.allowed):
        raise Blocked(Problem(reasons.NOT_ALLOWED, refused))
