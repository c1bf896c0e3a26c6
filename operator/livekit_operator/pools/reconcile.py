"""VoiceAgentPool: one pass, from its pods and versions to how many there should be, and to its rooms."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from math import ceil

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.voiceagentpool import Autoscaling, Schedule, VoiceAgentPool
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked, NamespaceTerminating, Problem, ServerNotAllowed
from livekit_operator.manifests.metadata import COMPONENT_AGENT
from livekit_operator.pools import status as pool_status
from livekit_operator.pools.apply import carry_out, protect
from livekit_operator.pools.context import Context
from livekit_operator.pools.decisions.autoscaling import Demand, Desired, desired_replicas, minimum_now
from livekit_operator.pools.decisions.history import Rollout, choose
from livekit_operator.pools.decisions.rollout import CANARY, STABLE, Plan, Target, plan
from livekit_operator.pools.manifests import versions
from livekit_operator.pools.manifests.pod import PodInputs, inputs_digest, is_pod_name
from livekit_operator.pools.manifests.versions import PoolVersion
from livekit_operator.pools.memory import Free, PoolMemory
from livekit_operator.pools.metrics import PoolMetrics
from livekit_operator.pools.observe import Observation, observe
from livekit_operator.pools.refused import dismiss
from livekit_operator.pools.rooms_by_name import describe
from livekit_operator.pools.standing import Standing
from livekit_operator.pools.tell_rooms import offer, tell_rooms
from livekit_operator.pools.versions import (
    find_inputs,
    forget_former,
    judged,
    kept_version,
    known_versions,
    note_failed,
    note_proven,
    remember,
)
from livekit_operator.reconciling import status
from livekit_operator.reconciling.braking import allow_pods
from livekit_operator.reconciling.frame import reconcile
from livekit_operator.reconciling.ownership import adopt_pods
from livekit_operator.reconciling.references import is_ready
from livekit_operator.reconciling.status import Outcome
from livekit_operator.servers.access import find_access, find_server, server_problem
from livekit_operator.servers.manifests.config import target_load
from livekit_operator.servers.memory import ServerAccess


async def reconcile_pool(context: Context, key: Key) -> float | None:
    """Reconcile one VoiceAgentPool."""
    return await reconcile(context, VoiceAgentPool, key, _pass)


async def _pass(context: Context, pool: VoiceAgentPool) -> Outcome | None:
    if pool.metadata.deletion_timestamp:
        if memory := context.pools.get(pool.key):
            memory.stable, memory.canary = Free("", 0), None
        return None  # everything of it is inside Kubernetes: the garbage collector does the rest
    memory = context.pool_memory(pool.key)
    memory.refusals.begin()
    try:
        server = find_server(context, pool, pool.spec.server_ref)
        access = find_access(context, pool, server)
    except ServerNotAllowed as refused:
        return await dismiss(context, pool, refused.problem)
    except Blocked as blocked:
        memory.stable, memory.canary = Free("", 0), None
        return pool_status.halted(pool, await observe(context, pool, memory), memory, blocked.problem)
    if access is None:
        return None
    await adopt_pods(context, pool, COMPONENT_AGENT, lambda pod: is_pod_name(pool, pod))
    observed = await observe(context, pool, memory)
    template = versions.build_template(pool, context.settings.agent_image, context.settings.provider_base_urls)
    wanted = versions.revision(template)
    # First what serves now, whatever comes of the rest: calls must find agents also where nothing new can be made.
    known = await known_versions(context, pool, memory)
    offer(pool, observed, memory, choose(pool.spec.rollout, wanted, judged(known)))
    tell_rooms(context, pool, access, memory, observed)
    poll = context.settings.pool_poll_seconds
    try:
        await protect(context, pool, memory, observed)
        await remember(context, pool, memory, template, known)
        if wanted not in known:
            known = await known_versions(context, pool, memory)
        standing, again = await _progress(context, pool, server, access, memory, observed, known, wanted)
    except Blocked as blocked:
        problem = replace(blocked.problem, retry_after=min(poll, blocked.problem.retry_after or poll))
        return pool_status.halted(pool, observed, memory, problem)
    except NamespaceTerminating:
        return status.terminating(pool, pool_status.count_remains(pool, observed, memory))
    offer(pool, observed, memory, standing.rollout)
    served = any(version.served or version.proven for version in standing.versions) or bool(observed.serving)
    memory.unborn = not served and standing.desired.replicas > 0
    before = memory.problem and memory.problem.reason
    conditions = pool_status.conditions(pool, standing, memory, context.now())
    conditions += describe(context, pool)
    if (memory.problem and memory.problem.reason) != before:
        for room in memory.waiting.keys() | memory.unanswered.keys():
            context.wake_served(room)  # they tell why they wait
    fields = pool_status.fields(pool, standing, memory, context.now())
    context.metrics.of(PoolMetrics).show(*pool.key, status.plain(fields))
    return Outcome(conditions, fields, min(poll, again))


async def _progress(
    context: Context,
    pool: VoiceAgentPool,
    server: LiveKitServer,
    access: ServerAccess,
    memory: PoolMemory,
    observed: Observation,
    known: dict[str, PoolVersion],
    wanted: str,
) -> tuple[Standing, float]:
    """Bring versions and pods nearer to what is wanted; return how the pool stands and when to look again (seconds)."""
    known = await note_proven(context, pool, memory, known, observed)
    kept = kept_version(memory, known, wanted)
    rollout = choose(pool.spec.rollout, kept, judged(known))
    known = await note_failed(context, pool, known, observed, memory, rollout, away=not is_ready(server.status))
    rollout = choose(pool.spec.rollout, kept, judged(known))
    rollout, inputs, again = await find_inputs(context, pool, access, known, observed, rollout)
    # As many calls a pod as the version takes that serves, not the one that is yet to come.
    serving = versions.with_template(pool, known[rollout.stable].template)
    desired, problem = _desired(serving, observed, memory, rollout, context.now())
    if desired.replicas == 0 and _is_tried(pool, observed, known[rollout.stable]):
        reason = f"1 pod until it is known whether revision {rollout.stable} can serve."
        desired = replace(desired, replicas=1, reason=reason)
    targets = _targets(pool, observed, known, rollout, inputs, desired)
    decided = plan(observed.views, targets, max_surge=pool.spec.rollout.max_surge)
    for view in observed.views:
        if view.ending and not view.leaving:
            message = (
                f"The worker of pod {view.name} ends by itself, with {view.sessions} calls; another takes its place. "
                f"See `kubectl logs {view.name}`."
            )
            await status.emit(context, pool, "Warning", reasons.WORKER_ENDS, message)
    decided = _braked(context, pool, observed, decided, sum(target.desired for target in targets))
    created = await carry_out(context, pool, access, memory, known, inputs, rollout, decided)
    await forget_former(context, pool, memory, known, observed, rollout, wanted)
    problem = memory.refusals.problem or rollout.problem or problem
    standing = Standing(
        observed=observed,
        desired=desired,
        wanted=wanted,
        rollout=replace(rollout, problem=problem),
        targets={target.track: target.version for target in targets},
        versions=sorted(known.values(), key=lambda version: (version.created, version.revision), reverse=True),
        created=created,
        waiting=len(memory.waiting),
        target_load=target_load(server),
        server_problem=server_problem(pool, server),
    )
    return standing, again


def _desired(
    pool: VoiceAgentPool, observed: Observation, memory: PoolMemory, rollout: Rollout, now: datetime
) -> tuple[Desired, Problem | None]:
    """Return how many pods are wanted, and the problem of a schedule that cannot be read, which then does not count."""
    active = observed.active_sessions(STABLE, pool.spec.sessions_per_pod)
    # Those whose agent is on its way, or was asked for in vain, need a place as much as those that wait.
    on_their_way = {room for room, (_, deployment, _) in memory.promised.items() if not deployment}
    waiting = len(memory.waiting.keys() | memory.unanswered.keys() | on_their_way)
    scaling = pool.spec.autoscaling
    seconds = scaling.scale_down_stabilization_seconds if scaling else 0
    # A surge and a canary come on top of what was wanted.
    stable = [pod.view.revision == rollout.stable for pod in observed.staying if pod.view.track == STABLE]
    recent = memory.recent(now, max(sum(stable), len(stable) - sum(stable)), seconds)
    demand, problem = Demand(active, waiting), None
    try:
        desired = desired_replicas(pool.spec, demand, now, recent)
    except ValueError as error:
        assert scaling is not None
        understood = [schedule for schedule in scaling.schedules if _is_understood(scaling, schedule, now)]
        plain = pool.spec.model_copy(update={"autoscaling": scaling.model_copy(update={"schedules": understood})})
        desired, problem = desired_replicas(plain, demand, now, recent), Problem(reasons.INVALID_SCHEDULE, str(error))
    memory.want(desired.wanted, now)
    return desired, problem


def _is_understood(scaling: Autoscaling, schedule: Schedule, now: datetime) -> bool:
    try:
        minimum_now(scaling.model_copy(update={"schedules": [schedule]}), now)
    except ValueError:
        return False
    return True


def _targets(
    pool: VoiceAgentPool,
    observed: Observation,
    known: Mapping[str, PoolVersion],
    rollout: Rollout,
    inputs: Mapping[str, PodInputs],
    desired: Desired,
) -> list[Target]:
    """Return how many pods of which version are wanted on each track."""
    targets = [Target(_version(pool, rollout.stable, inputs), desired.replicas, STABLE)]
    canary = pool.spec.rollout.canary
    if rollout.canary and canary:
        most = versions.with_template(pool, known[rollout.canary].template).spec.sessions_per_pod
        share = ceil(desired.replicas * canary.weight / 100)
        held = ceil(observed.active_sessions(CANARY, most) / most)
        tried = _is_tried(pool, observed, known[rollout.canary])
        targets.append(Target(_version(pool, rollout.canary, inputs), max(share, held, tried), CANARY))
    if rollout.retried:
        targets.append(Target(_version(pool, rollout.retried, inputs), min(1, desired.replicas), CANARY))
    return targets


def _is_tried(pool: VoiceAgentPool, observed: Observation, version: PoolVersion) -> bool:
    """Return whether a version has pods of which none was ready yet, in a pool that scales by its calls.

    One of them stays though nobody calls any more: were it made anew with each caller, its time would begin anew, and
    a version that cannot start would never be found out.
    """
    if pool.spec.autoscaling is None or pool.spec.autoscaling.mode != "Internal":
        return False
    pods = [pod.view for pod in observed.staying if pod.view.revision == version.revision]
    known = version.proven or version.served or version.failed
    return not known and bool(pods) and not any(view.ready for view in pods)


def _version(pool: VoiceAgentPool, revision: str, inputs: Mapping[str, PodInputs]) -> str:
    """Return the version as `PodView.version` writes it."""
    return f"{revision}/{inputs_digest(pool, inputs[revision])}"


def _braked(context: Context, pool: VoiceAgentPool, observed: Observation, decided: Plan, wanted: int) -> Plan:
    """Return what may be done now; pods that ended stay to be looked at until one may take their place."""
    pods = [pod.manifest for pod in observed.pods]
    allowed = allow_pods(context, pool, COMPONENT_AGENT, pods, len(decided.create), wanted=wanted)
    if allowed == len(decided.create):
        return decided
    finished = {view.name for view in observed.views if view.finished} if not allowed else set()
    return Plan(decided.create[:allowed], tuple(name for name in decided.delete if name not in finished))
