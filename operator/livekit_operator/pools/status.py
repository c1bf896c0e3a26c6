"""What a pool says of itself: counts, versions, and conditions with what to do."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import (
    CanaryStatus,
    SessionStatus,
    Track,
    VersionStatus,
    VoiceAgentPool,
    VoiceAgentPoolStatus,
)
from livekit_operator.conditions import Observed
from livekit_operator.constants import (
    AGENT_STATUS_PORT,
    CONDITION_AGENTS_AVAILABLE,
    CONDITION_PROGRESSING,
    CONDITION_RUNNER_APPLIED,
    CONDITION_SCALING_LIMITED,
)
from livekit_operator.errors import Problem
from livekit_operator.moments import timestamp
from livekit_operator.outside import said
from livekit_operator.pools.decisions.agent_problems import PERSONAL_REASONS, UNSERVED_REASONS, AgentFacts, diagnose
from livekit_operator.pools.decisions.autoscaling import Desired
from livekit_operator.pools.decisions.rollout import CANARY
from livekit_operator.pools.manifests import children as build
from livekit_operator.pools.manifests.versions import PoolVersion, canary_deployment
from livekit_operator.pools.memory import PoolMemory, ToldSessions
from livekit_operator.pools.observe import Observation, ObservedPod
from livekit_operator.pools.providers import provider_problems, provider_reason, providers_accepted
from livekit_operator.pools.standing import Standing
from livekit_operator.reconciling import status
from livekit_operator.reconciling.status import Outcome, joined

_MOST_SESSIONS = 50
_DO_IT_YOURSELF = "Have your code do it, or use another version of livekit-agents."
_GROW = "Raise spec.autoscaling.maxReplicas for more."
_SESSIONS_KEPT = timedelta(seconds=10)


def fields(pool: VoiceAgentPool, standing: Standing, memory: PoolMemory, now: datetime) -> VoiceAgentPoolStatus:
    """Return the status of what was observed, conditions left out."""
    observed = standing.observed
    told = VoiceAgentPoolStatus(
        agent_name=build.agent_name(pool),
        selector=build.pod_selector(pool),
        revision=standing.wanted,
        desired_replicas=standing.desired.replicas,
        desired_reason=standing.desired.reason,
        updated_replicas=len(standing.settled),
        remaining_sessions=sum(pod.view.sessions or 0 for pod in observed.pods if _remains(pod, standing)),
        sessions=list(_sessions(observed, memory, now)),
        versions=[_version(version, standing, memory) for version in standing.versions],
        canary=_canary(pool, standing, memory),
    )
    return joined(_counts(observed, memory), told)


def _counts(observed: Observation, memory: PoolMemory) -> VoiceAgentPoolStatus:
    """Return what can be counted whatever the pool is to be."""
    serving = observed.serving
    return VoiceAgentPoolStatus(
        replicas=len(observed.staying),
        ready_replicas=len(serving),
        draining_replicas=sum(pod.view.leaving for pod in observed.pods),
        busy_replicas=sum(bool(pod.view.sessions) for pod in observed.pods),
        idle_replicas=sum(pod.view.idle for pod in serving),
        active_sessions=sum(pod.view.sessions or 0 for pod in observed.pods),
        free_sessions=memory.stable.sessions + (memory.canary.sessions if memory.canary else 0),
        waiting_sessions=len(memory.waiting),
    )


def halted(pool: VoiceAgentPool, observed: Observation, memory: PoolMemory, problem: Problem) -> Outcome:
    """Return the outcome of a pass that could not go on: what serves is still counted, and offered to rooms."""
    memory.problem = problem
    fields = count_remains(pool, observed, memory)
    outcome = status.halted(pool, problem, fields)
    if not fields.free_sessions:
        return outcome
    there = [condition for condition in outcome.conditions if condition.type != CONDITION_AGENTS_AVAILABLE]
    return replace(outcome, conditions=[*there, _available(None, fields.free_sessions)])


def count_remains(pool: VoiceAgentPool, observed: Observation, memory: PoolMemory) -> VoiceAgentPoolStatus:
    """Return the fields of the status that count pods, of a pass that could not go on."""
    updated = min(len(observed.staying), pool.status.get("updatedReplicas") or 0)
    return joined(_counts(observed, memory), VoiceAgentPoolStatus(updated_replicas=updated))


def _available(problem: Problem | None, free: int) -> Observed:
    if problem is not None:
        return Observed.told(CONDITION_AGENTS_AVAILABLE, False, problem)
    if free:
        message = f"{free} more {'call' if free == 1 else 'calls'} can be taken now."
    else:
        message = "No agent is free; another pod comes with the next call."
    return Observed(CONDITION_AGENTS_AVAILABLE, True, reasons.AVAILABLE, message)


def _sessions(observed: Observation, memory: PoolMemory, now: datetime) -> Sequence[SessionStatus]:
    """Return the calls and what their agents do, those first that did nothing for longest.

    The same as before for a few seconds while they are the same calls: what they do changes with every sentence.
    """
    held = [(job, pod.view.name) for pod in observed.pods if pod.worker for job in pod.worker.jobs or ()]
    calls = frozenset(job.id for job, _ in held)
    if memory.told and memory.told.calls == calls and now - memory.told.at < _SESSIONS_KEPT:
        return memory.told.lines
    held.sort(key=lambda one: (one[0].last_active or one[0].started or now, one[0].room))
    lines = [
        SessionStatus(
            room=said(job.room),
            pod=pod,
            state=job.state or None,
            start_time=timestamp(job.started) if job.started else None,
            last_activity_time=timestamp(job.last_active) if job.last_active else None,
        )
        for job, pod in held[:_MOST_SESSIONS]
    ]
    memory.told = ToldSessions(now, calls, lines)
    return lines


def conditions(pool: VoiceAgentPool, standing: Standing, memory: PoolMemory, now: datetime) -> list[Observed]:
    """Return the conditions of what was observed; leave the reason why rooms get no agent in the memory."""
    facts = agent_facts(pool, standing, memory, now)
    problem = diagnose(facts)
    if problem and problem.reason == reasons.PROVIDER_REJECTED:
        problem = Problem(provider_reason(standing.observed.provider_errors(standing.stable)), problem.message)
    ready = _ready(pool, standing, problem)
    if not standing.observed.serving and ready.status is False and problem is None:
        problem = Problem(ready.reason, ready.message)
    elif not standing.observed.serving and standing.rollout.problem and problem and problem.reason in PERSONAL_REASONS:
        problem = standing.rollout.problem
    memory.problem = problem
    available = _available(problem, facts.free_sessions)
    found = [ready, _progressing(pool, standing, memory), available, providers_accepted(pool, standing)]
    if pool.spec.autoscaling is not None and pool.spec.autoscaling.mode == "Internal":
        found.append(_scaling(standing))
    if not pool.spec.agent.stock:
        found.append(_runner(pool, standing))
    return found


def agent_facts(pool: VoiceAgentPool, standing: Standing, memory: PoolMemory, now: datetime) -> AgentFacts:
    """Return what diagnosing needs."""
    observed = standing.observed
    errors = observed.provider_errors(standing.stable)
    answering = [pod.worker for pod in observed.serving if pod.worker and pod.answered]
    unanswered = min(memory.unanswered.values(), default=None)
    retried = standing.rollout.retried
    return AgentFacts(
        ready_pods=len(observed.serving),
        pods=len(observed.staying) + standing.created,
        registered=sum(worker.registered is not False for worker in answering),
        crash=next((pod.crash for pod in observed.staying if pod.crash and pod.view.revision != retried), None),
        free_sessions=free_sessions(pool, observed, ""),
        at_limit=standing.desired.limited or _is_full_grown(pool, standing.desired),
        fixed=standing.desired.replicas if pool.spec.autoscaling is None else None,
        heard=observed.heard,
        stuck=standing.trouble,
        waiting=standing.waiting,
        provider_problem=provider_problems(errors) if errors else None,
        wanted_name=build.agent_name(pool),
        names=tuple(sorted({worker.agent_name for worker in answering if worker.agent_name is not None})),
        wanted_deployments=tuple(sorted({_deployment(pod) for pod in observed.serving})) or ("",),
        deployments=tuple(sorted({worker.deployment for worker in answering if worker.deployment is not None})),
        target_load=standing.target_load,
        loads=tuple(worker.load for worker in answering if worker.load is not None and not worker.sessions),
        unconnected=len(memory.unconnected),
        dispatch_age=(now - unanswered).total_seconds() if unanswered else None,
    )


def _is_full_grown(pool: VoiceAgentPool, desired: Desired) -> bool:
    scaling = pool.spec.autoscaling
    return scaling is not None and scaling.mode == "Internal" and desired.replicas >= scaling.max_replicas


def _deployment(pod: ObservedPod) -> str:
    """Return the deployment that dispatches to a pod ask for."""
    return canary_deployment(pod.view.revision) if pod.view.track == CANARY else ""


def free_sessions(pool: VoiceAgentPool, observed: Observation, deployment: str) -> int:
    """Return the calls that workers of a deployment could still take which are registered by the name rooms ask for.

    Each by its own measure: pods of another version may take more or fewer than the spec now says.
    """
    name, most = build.agent_name(pool), pool.spec.sessions_per_pod
    workers = [pod.worker for pod in observed.serving if pod.worker and _deployment(pod) == deployment]
    reached = [w for w in workers if w.registered is not False and w.agent_name in (None, name)]
    return sum(max(0, (most if worker.capacity is None else worker.capacity) - worker.sessions) for worker in reached)


def _remains(pod: ObservedPod, standing: Standing) -> bool:
    """Return whether a pod's calls are the last ones on it."""
    wanted = {standing.rollout.stable, standing.rollout.canary, standing.rollout.retried}
    return pod.view.leaving or pod.view.revision not in wanted


def _version(version: PoolVersion, standing: Standing, memory: PoolMemory) -> VersionStatus:
    pods = standing.of(version.revision)
    sessions, failed = version_sessions(standing.observed, memory, version.revision)
    return VersionStatus(
        revision=version.revision,
        track=_track(version, standing, pods),
        replicas=sum(not pod.view.leaving for pod in pods),
        ready_replicas=sum(pod.serves for pod in pods),
        active_sessions=sum(pod.view.sessions or 0 for pod in pods),
        sessions=sessions,
        failed_sessions=failed,
        created_at=timestamp(version.created),
        image=version.image,
        message=version.failed or None,
    )


def _track(version: PoolVersion, standing: Standing, pods: Sequence[ObservedPod]) -> Track:
    if version.revision == standing.rollout.stable:
        return "Stable"
    if version.revision == standing.rollout.canary:
        return "Canary"
    if version.failed:
        return "Failed"
    return "Old" if pods else "History"


def _canary(pool: VoiceAgentPool, standing: Standing, memory: PoolMemory) -> CanaryStatus | None:
    revision, spec = standing.rollout.canary, pool.spec.rollout.canary
    if revision is None or spec is None:
        return None
    sessions, failed = version_sessions(standing.observed, memory, revision)
    return CanaryStatus(
        revision=revision,
        deployment=canary_deployment(revision),
        weight=spec.weight,
        sessions=sessions,
        failed_sessions=failed,
    )


def version_sessions(observed: Observation, memory: PoolMemory, revision: str) -> tuple[int, int]:
    """Return the calls that workers of a version have begun, and those of them that failed."""
    workers = [pod.worker for pod in observed.pods if pod.view.revision == revision and pod.worker]
    started, failed = memory.gone.get(revision, (0, 0))
    return started + sum(worker.started for worker in workers), failed + sum(worker.failed for worker in workers)


def _ready(pool: VoiceAgentPool, standing: Standing, problem: Problem | None) -> Observed:
    observed, desired = standing.observed, standing.desired
    if errors := observed.provider_errors(standing.stable):
        return Observed.not_ready(Problem(provider_reason(errors), provider_problems(errors)))
    if standing.rollout.problem:
        return Observed.not_ready(standing.rollout.problem)
    serving = observed.serving
    updated = sum(pod.view.version == standing.stable for pod in serving)
    # A pool that grows is ready all the while: only what must always be there counts.
    least = desired.minimum
    warm = "warm and registered" if pool.spec.agent.stock or pool.spec.agent.injected else "ready"
    message = f"{len(serving)} of {desired.replicas} pods are {warm}."
    if serving and problem and problem.reason in UNSERVED_REASONS and standing.rollout.canary is None:
        return Observed.not_ready(problem)
    if updated >= least and (serving or not standing.trouble):
        if desired.replicas or serving:
            return Observed.ready(message)
        if pool.spec.autoscaling is None:
            return Observed.not_ready(
                Problem(reasons.SCALED_TO_ZERO, "spec.replicas is 0: no agent runs, and none comes.")
            )
        return Observed.ready("No pod is needed now; the next call brings one.")
    reason = reasons.PROGRESSING
    if serving and len(serving) >= least:
        reason, message = reasons.ROLLING_OUT, f"{updated} of {least} pods run the wanted version; older ones serve."
    if standing.trouble:
        return Observed.not_ready(Problem(reasons.PODS_FAILING, f"{message} {standing.trouble}"))
    if not serving and standing.server_problem:
        return Observed.not_ready(standing.server_problem)
    return Observed.not_ready(Problem(reason, message))


def _progressing(pool: VoiceAgentPool, standing: Standing, memory: PoolMemory) -> Observed:
    observed, rollout = standing.observed, standing.rollout
    versions = standing.targets.values()
    old = [
        pod
        for pod in observed.pods
        if (_remains(pod, standing) and pod.view.revision != rollout.stable)
        or (pod.view.stays and pod.view.version not in versions)
    ]
    calls = sum(pod.view.sessions or 0 for pod in old)
    if rollout.canary is not None:
        sessions, failed = version_sessions(observed, memory, rollout.canary)
        message = f"Canary {rollout.canary} has had {sessions} calls, {failed} of them failed."
        return Observed(CONDITION_PROGRESSING, True, reasons.CANARY, message)
    if old:
        message = f"{len(old)} pods of former versions end their {calls} calls."
        return Observed(CONDITION_PROGRESSING, True, reasons.ROLLING_OUT, message)
    if rollout.retried is not None:
        return Observed(
            CONDITION_PROGRESSING, True, reasons.RETRYING, f"A pod of revision {rollout.retried} is still tried."
        )
    leaving = [pod for pod in observed.pods if pod.view.leaving]
    if leaving:
        calls = sum(pod.view.sessions or 0 for pod in leaving)
        return Observed(CONDITION_PROGRESSING, True, reasons.DRAINING, f"{len(leaving)} pods end their {calls} calls.")
    wanted = standing.desired.replicas
    ready = sum(pod.serves for pod in standing.settled)
    elsewhere = rollout.stable != standing.wanted and rollout.stable != pool.spec.rollout.rollback_to
    if rollout.problem and (elsewhere or ready < wanted):
        return Observed.told(CONDITION_PROGRESSING, False, rollout.problem)
    if ready < wanted:
        message = f"{ready} of {wanted} pods of the wanted version are ready."
        return Observed(
            CONDITION_PROGRESSING, True, reasons.STARTING, " ".join(filter(None, [message, standing.trouble]))
        )
    if (surplus := len(standing.settled) - wanted) > 0:
        message = f"{surplus} more pods than wanted stay until their calls end."
        return Observed(CONDITION_PROGRESSING, True, reasons.SCALING_DOWN, message)
    message = "Every pod is of the wanted version." if wanted else "No pod is wanted."
    return Observed(CONDITION_PROGRESSING, False, reasons.UP_TO_DATE, message)


def _scaling(standing: Standing) -> Observed:
    desired = standing.desired
    if not desired.limited:
        return Observed(CONDITION_SCALING_LIMITED, False, reasons.WITHIN_LIMITS, desired.reason)
    waiting = f" {standing.waiting} rooms wait for an agent." if standing.waiting else ""
    return Observed(CONDITION_SCALING_LIMITED, True, reasons.MAX_REPLICAS_REACHED, f"{desired.reason}{waiting} {_GROW}")


def _runner(pool: VoiceAgentPool, standing: Standing) -> Observed:
    if not pool.spec.agent.injected:
        message = (
            "With agent.runner None your own code keeps sessionsPerPod, idleProcesses, drainTimeoutSeconds and "
            "metricsPort, and a pod is Ready before it is warm and registered."
        )
        return Observed(CONDITION_RUNNER_APPLIED, False, reasons.RUNNER_NOT_INJECTED, message)
    pods = [pod for pod in standing.observed.staying if pod.view.version == standing.stable]
    told = sorted({text for pod in pods if pod.worker for text in pod.worker.not_applied})
    if told:
        message = f"Not applied in this image: {'; '.join(told)}. {_DO_IT_YOURSELF}"
        return Observed(CONDITION_RUNNER_APPLIED, False, reasons.PARTLY_APPLIED, message)
    if any(pod.worker for pod in pods):
        return Observed(CONDITION_RUNNER_APPLIED, True, reasons.APPLIED, "The runner applies everything in this image.")
    message = (
        f"No pod of this version answers on port {AGENT_STATUS_PORT}: have spec.agent.command run Python with "
        "livekit-agents and keep PYTHONPATH."
    )
    return Observed(CONDITION_RUNNER_APPLIED, None, reasons.NOT_HEARD, message)
