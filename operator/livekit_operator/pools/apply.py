"""Creates, changes and deletes a pool's children as far as the API server accepts that.

A quota or an admission policy may refuse any of it. That is reported and retried later; existing pods go on being
served, and only a pod that needs what was refused is not created.
"""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import ANNOTATION_ALLOW_AGENTS, LABEL_BUSY
from livekit_operator.engine.cache import Manifest, key_of
from livekit_operator.errors import Blocked, NotFound, Problem
from livekit_operator.manifests.metadata import COMPONENT_AGENT
from livekit_operator.manifests.permits import pod_refusal
from livekit_operator.pools.context import Context
from livekit_operator.pools.decide import Plan
from livekit_operator.pools.decisions.last_words import OUT_OF_MEMORY
from livekit_operator.pools.decisions.rollout import CANARY
from livekit_operator.pools.diagnosis import why_unserved
from livekit_operator.pools.keep import forget_former
from livekit_operator.pools.manifests import children as build
from livekit_operator.pools.manifests import versions
from livekit_operator.pools.manifests.pod import PodInputs, build_pod, busy_patch
from livekit_operator.pools.manifests.versions import PoolVersion
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.observe import Observation
from livekit_operator.pools.pods import Pods
from livekit_operator.pools.sessions import list_sessions
from livekit_operator.pools.standing import Done, Standing
from livekit_operator.pools.tell_rooms import offer, tell_why
from livekit_operator.pools.writes import ensure, remove
from livekit_operator.reconciling import children
from livekit_operator.reconciling.braking import remember_pods, report_held
from livekit_operator.reconciling.ownership import is_owned
from livekit_operator.reconciling.status import emit
from livekit_operator.servers.memory import Credentials


async def provide(context: Context, pool: VoiceAgentPool, credentials: Credentials, memory: PoolMemory) -> bool:
    """Make what pods need as desired; return whether new ones have all they need then."""
    keys = credentials.keys
    # One with a former key would be taken for one that has the new key.
    sufficient = await ensure(context, pool, memory, build.build_credentials(pool, keys.api_key, keys.api_secret))
    for desired in (build.build_service_account(pool), build.build_network_policy(pool, context.settings.namespace)):
        made = await ensure(context, pool, memory, desired)
        sufficient = (made or _is_there(context, pool, desired)) and sufficient
    return sufficient


def _is_there(context: Context, pool: VoiceAgentPool, desired: Manifest) -> bool:
    known = context.children[desired["kind"]].get(key_of(desired))
    return known is not None and is_owned(pool, known)


async def protect(
    context: Context, pool: VoiceAgentPool, memory: PoolMemory, pods: Pods, known: Mapping[str, PoolVersion]
) -> None:
    """Protect pods with calls from evictions, and only those; `known` are the versions that they may be of.

    Never fewer are protected than have calls: marks are removed before the budget is lowered, and set after it is
    raised. They are set even if the budget is refused, because they keep autoscalers of nodes away.
    """
    staying = [pod for pod in pods.staying if "deletionTimestamp" not in pod.manifest["metadata"]]
    marked = {pod.view.name for pod in staying if (pod.manifest["metadata"].get("labels") or {}).get(LABEL_BUSY)}
    # One that never said whether it has calls stays as it is.
    busy = {p.view.name for p in staying if p.view.sessions or (p.view.sessions is None and p.view.name in marked)}
    then = {
        p.view.name: versions.with_template(pool, known[p.view.revision].template) if p.view.revision in known else pool
        for p in staying
        if p.view.name in marked - busy
    }
    kept = {
        name
        for name in sorted(then)
        if not await _mark(context, pool, memory, name, busy_patch(then[name], busy=False))
    }
    await ensure(context, pool, memory, build.build_budget(pool, len(busy | kept)))
    for name in sorted(busy - marked):
        await _mark(context, pool, memory, name, busy_patch(pool, busy=True))


async def _mark(context: Context, pool: VoiceAgentPool, memory: PoolMemory, name: str, patch: Manifest) -> bool:
    async def write() -> None:
        with suppress(NotFound):
            await children.patch(context, pool, "Pod", name, patch)

    return await memory.refusals.attempt(f"the mark of Pod {name}", str(patch), write, context.now())


async def apply(context: Context, pool: VoiceAgentPool, memory: PoolMemory, observed: Observation, plan: Plan) -> Done:
    """Carry out a plan, then tell rooms what serves and why they get no agent; return what was done."""
    remember_pods(context, pool, COMPONENT_AGENT, plan.made)
    memory.want(plan.desired.wanted, plan.recent, plan.moment)
    report_held(context, pool, COMPONENT_AGENT, plan.pods.held)
    await _announce(context, pool, memory, observed.pods)
    created = await carry_out(context, pool, memory, observed.credentials, plan)
    await forget_former(context, pool, memory, observed, plan)
    offer(pool, observed.pods, memory, plan.rollout)
    served = any(version.served or version.proven for version in plan.known.values()) or bool(observed.pods.serving)
    memory.unborn = not served and plan.desired.replicas > 0
    now = context.now()
    memory.told = list_sessions(observed.pods, memory.told, now)
    done = Done(created, memory.refusals.problem, memory.count(), memory.told.lines, now)
    unserved = why_unserved(pool, Standing(observed, plan, done))
    tell_why(context, memory, unserved)
    return replace(done, unserved=unserved)


async def _announce(context: Context, pool: VoiceAgentPool, memory: PoolMemory, pods: Pods) -> None:
    """Emit an Event for each pod whose worker ends by itself, and for each call that has ended for lack of memory."""
    for call in memory.ended.values():
        if call.at == memory.looked and call.job.error.startswith(OUT_OF_MEMORY):
            message = (
                f"A call on pod {call.pod} has failed: {call.job.error.rstrip('. ')}. See `kubectl logs {call.pod}`."
            )
            await emit(context, pool, "Warning", reasons.OOM_KILLED, message)
    for view in pods.views:
        if view.ending and not view.leaving:
            message = (
                f"The worker of pod {view.name} ends by itself, with {view.sessions} calls; another takes its place. "
                f"See `kubectl logs {view.name}`."
            )
            await emit(context, pool, "Warning", reasons.WORKER_ENDS, message)


async def carry_out(
    context: Context, pool: VoiceAgentPool, memory: PoolMemory, credentials: Credentials, plan: Plan
) -> int:
    """Make what pods need as desired, then delete and create pods as decided; return how many were created.

    A quota, a policy or colliding overrides may prevent that: the memory then has the problem, and existing pods go on
    serving.
    """
    sufficient = await provide(context, pool, credentials, memory)
    # Deletions first: under a quota they make room for what is created.
    for name in plan.pods.delete:
        manifest = context.children["Pod"].get((pool.metadata.namespace, name))
        if manifest is not None:
            await remove(context, memory, "Pod", manifest)
    if not sufficient:
        return 0
    rollout = plan.rollout
    for number, track in enumerate(plan.pods.create):
        version = plan.known[(track == CANARY and (rollout.canary or rollout.retried)) or rollout.stable]
        make = partial(_make_pod, context, pool, version, track, plan.inputs[version.revision])
        if not await memory.refusals.attempt("Pod", "", make, context.now()):
            return number
    return len(plan.pods.create)


async def _make_pod(
    context: Context, pool: VoiceAgentPool, version: PoolVersion, track: str, inputs: PodInputs
) -> None:
    """Make a pod; raises Blocked when it cannot be, or is not let."""
    suffix = secrets.token_hex(3)
    pod = build_pod(pool, version, track, inputs, suffix)
    _check_allowed(context, pod)
    await _check_account(context, pool, pod["spec"]["serviceAccountName"])
    await children.make_pod(context, pool, COMPONENT_AGENT, pod, part=suffix)


def _check_allowed(context: Context, pod: Manifest) -> None:
    """Raise Blocked when the chart's values do not allow what a pod asks for."""
    if refused := pod_refusal(pod["spec"].get("priorityClassName"), context.settings.allowed):
        raise Blocked(Problem(reasons.NOT_ALLOWED, refused))


async def _check_account(context: Context, pool: VoiceAgentPool, name: str) -> None:
    """Raise Blocked when pods may not run under a ServiceAccount: whoever may write pools need not have its rights.

    Whoever may write the account says so on it. One that is the pool's own has no rights.
    """
    if name == build.child_name(pool):
        return
    account = await children.find(context, "ServiceAccount", pool.metadata.namespace, name)
    which = f"ServiceAccount {name} of spec.podTemplate.serviceAccountName"
    if account is None:
        message = f"{which} does not exist: create it, or name another one."
    elif (account["metadata"].get("annotations") or {}).get(ANNOTATION_ALLOW_AGENTS) != "true":
        message = (
            f"{which} does not allow agents: annotate it, `kubectl annotate serviceaccount {name} "
            f"{ANNOTATION_ALLOW_AGENTS}=true`, or name another one."
        )
    else:
        return
    raise Blocked(Problem(reasons.SERVICE_ACCOUNT_NOT_ALLOWED, message))
