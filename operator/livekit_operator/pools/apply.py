"""Creates, changes and deletes a pool's children as far as the API server accepts that.

A quota or an admission policy may refuse any of it. That is reported and retried later; existing pods go on being
served, and only a pod that needs what was refused is not created.
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
    """Delete a child, if that is accepted."""
    what = f"the deletion of {kind} {manifest['metadata']['name']}"
    await memory.refusals.attempt(what, "", lambda: children.remove(context, kind, manifest), context.now())


async def ensure(context: Context, pool: VoiceAgentPool, memory: PoolMemory, desired: Manifest) -> bool:
    """Make a child as desired; return whether it is so now."""
    what = f"{desired['kind']} {desired['metadata']['name']}"
    write = partial(children.ensure, context, pool, desired)
    return await memory.refusals.attempt(what, digest(desired), write, context.now())


async def provide(context: Context, pool: VoiceAgentPool, access: ServerAccess, memory: PoolMemory) -> bool:
    """Make what pods need as desired; return whether new ones have all they need then."""
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
    """Protect pods with calls from evictions, and only those.

    Never fewer are protected than have calls: marks are removed before the budget is lowered, and set after it is
    raised. They are set even if the budget is refused, because they keep autoscalers of nodes away.
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
    """Make what pods need as desired, then delete and create pods as decided; return how many were created.

    A quota, a policy or colliding overrides may prevent that: the memory then has the problem, and existing pods go on
    serving.
    """
    sufficient = await provide(context, pool, access, memory)
    # Deletions first: under a quota they make room for what is created.
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
