"""What a pool says of itself: counts, versions, and conditions with what to do."""

from collections.abc import Sequence
from dataclasses import replace

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import (
    CanaryStatus,
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
    RUNNER_REFUSES,
)
from livekit_operator.errors import Problem
from livekit_operator.moments import timestamp
from livekit_operator.outside import MOST_MESSAGE, said
from livekit_operator.pools.decide import Plan
from livekit_operator.pools.diagnosis import is_ready, why_failing
from livekit_operator.pools.manifests import children as build
from livekit_operator.pools.manifests.versions import PoolVersion, canary_deployment
from livekit_operator.pools.observe import Observation
from livekit_operator.pools.pods import ObservedPod, Pods, free_sessions
from livekit_operator.pools.providers import providers_accepted
from livekit_operator.pools.rooms_by_name import describe
from livekit_operator.pools.standing import Done, Standing
from livekit_operator.pools.told import Counts
from livekit_operator.reasons import Reason
from livekit_operator.reconciling import status as written
from livekit_operator.reconciling.status import Outcome, joined

_DO_IT_YOURSELF = "Have your code do it, or use another version of livekit-agents."
_GROW = "Raise spec.autoscaling.maxReplicas for more."


def status(pool: VoiceAgentPool, observed: Observation, plan: Plan, done: Done) -> Outcome:
    """Return the status after a pass, and when the next one is due at the latest."""
    standing = Standing(observed, plan, done)
    return Outcome(_conditions(pool, standing), _fields(pool, standing), plan.again)


def halted(pool: VoiceAgentPool, pods: Pods, counts: Counts, problem: Problem) -> Outcome:
    """Return the outcome of a pass that could not go on: what serves is still counted, and offered to rooms."""
    fields = count_remains(pool, pods, counts)
    outcome = written.halted(pool, problem, fields)
    if not fields.free_sessions:
        return outcome
    there = [condition for condition in outcome.conditions if condition.type != CONDITION_AGENTS_AVAILABLE]
    return replace(outcome, conditions=[*there, _available(None, fields.free_sessions)])


def count_remains(pool: VoiceAgentPool, pods: Pods, counts: Counts) -> VoiceAgentPoolStatus:
    """Return the fields of the status that count pods, of a pass that could not go on."""
    updated = min(len(pods.staying), pool.last.updated_replicas or 0)
    return joined(_counts(pods, counts), VoiceAgentPoolStatus(updated_replicas=updated))


def _fields(pool: VoiceAgentPool, standing: Standing) -> VoiceAgentPoolStatus:
    """Return the status of what was observed and done, conditions left out."""
    pods = standing.pods
    told = VoiceAgentPoolStatus(
        agent_name=build.agent_name(pool),
        selector=build.pod_selector(pool),
        revision=standing.observed.wanted,
        desired_replicas=standing.desired.replicas,
        desired_reason=standing.desired.reason,
        updated_replicas=len(standing.settled),
        remaining_sessions=sum(pod.view.sessions or 0 for pod in pods.every if _remains(pod, standing)),
        sessions=list(standing.done.sessions),
        versions=[_version(version, standing) for version in standing.versions],
        canary=_canary(pool, standing),
    )
    return joined(_counts(pods, standing.done.counts), told)


def _counts(pods: Pods, counts: Counts) -> VoiceAgentPoolStatus:
    """Return what can be counted whatever the pool is to be."""
    serving = pods.serving
    return VoiceAgentPoolStatus(
        replicas=len(pods.staying),
        ready_replicas=len(serving),
        draining_replicas=sum(pod.view.leaving for pod in pods.every),
        busy_replicas=sum(bool(pod.view.sessions) for pod in pods.every),
        idle_replicas=sum(pod.view.idle for pod in serving),
        active_sessions=sum(pod.view.sessions or 0 for pod in pods.every),
        free_sessions=counts.free,
        waiting_sessions=counts.waiting,
    )


def _conditions(pool: VoiceAgentPool, standing: Standing) -> list[Observed]:
    """Return the conditions of what was observed and done."""
    unavailable = standing.done.unserved or why_failing(standing)
    available = _available(unavailable, free_sessions(pool, standing.pods, ""))
    found = [is_ready(pool, standing), _progressing(pool, standing), available, providers_accepted(pool, standing)]
    if pool.spec.autoscaling is not None and pool.spec.autoscaling.mode == "Internal":
        found.append(_scaling(standing))
    if not pool.spec.agent.stock:
        found.append(_runner(pool, standing))
    return [*found, *describe(pool, standing.observed.prefixes)]


def _available(problem: Problem | None, free: int) -> Observed:
    if problem is not None:
        return Observed.told(CONDITION_AGENTS_AVAILABLE, False, problem)
    if free:
        message = f"{free} more {'call' if free == 1 else 'calls'} can be taken now."
    else:
        message = "No agent is free; another pod comes with the next call."
    return Observed(CONDITION_AGENTS_AVAILABLE, True, reasons.AVAILABLE, message)


def _remains(pod: ObservedPod, standing: Standing) -> bool:
    """Return whether a pod's calls are the last ones on it."""
    wanted = {standing.rollout.stable, standing.rollout.canary, standing.rollout.retried}
    return pod.view.leaving or pod.view.revision not in wanted


def _version(version: PoolVersion, standing: Standing) -> VersionStatus:
    pods = standing.of(version.revision)
    sessions, failed = standing.calls_of(version.revision)
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
        # Noted by an operator that may have known less of what is not to be shown.
        message=said(version.failed, MOST_MESSAGE) if version.failed else None,
    )


def _track(version: PoolVersion, standing: Standing, pods: Sequence[ObservedPod]) -> Track:
    if version.revision == standing.rollout.stable:
        return "Stable"
    if version.revision == standing.rollout.canary:
        return "Canary"
    if version.failed:
        return "Failed"
    return "Old" if pods else "History"


def _canary(pool: VoiceAgentPool, standing: Standing) -> CanaryStatus | None:
    revision, spec = standing.rollout.canary, pool.spec.rollout.canary
    if revision is None or spec is None:
        return None
    sessions, failed = standing.calls_of(revision)
    return CanaryStatus(
        revision=revision,
        deployment=canary_deployment(revision),
        weight=spec.weight,
        sessions=sessions,
        failed_sessions=failed,
    )


def _progressing(pool: VoiceAgentPool, standing: Standing) -> Observed:
    if unheard := standing.unheard:
        return Observed(CONDITION_PROGRESSING, True, reasons.NOT_DRAINING, _not_draining(unheard))
    pods, rollout = standing.pods, standing.rollout
    versions = standing.plan.targets.values()
    old = [
        pod
        for pod in pods.every
        if (_remains(pod, standing) and pod.view.revision != rollout.stable)
        or (pod.view.stays and pod.view.version not in versions)
    ]
    calls = sum(pod.view.sessions or 0 for pod in old)
    if rollout.canary is not None:
        sessions, failed = standing.calls_of(rollout.canary)
        message = f"Canary {rollout.canary} has had {sessions} calls, {failed} of them failed."
        return _progress(reasons.CANARY, message, standing, rollout.canary)
    wanted = standing.desired.replicas
    ready = sum(pod.serves for pod in standing.settled)
    if old:
        message = f"{len(old)} pods of former versions end their {calls} calls."
        if wanted and not ready:
            message = (
                f"{ready} of {wanted} pods of the wanted version are ready; {len(old)} of former versions stay until "
                f"then, with {calls} calls."
            )
        return _progress(reasons.ROLLING_OUT, message, standing, rollout.stable)
    if rollout.retried is not None:
        message = f"A pod of revision {rollout.retried} is still tried."
        return _progress(reasons.RETRYING, message, standing, rollout.retried)
    leaving = [pod for pod in pods.every if pod.view.leaving]
    if leaving:
        calls = sum(pod.view.sessions or 0 for pod in leaving)
        return Observed(CONDITION_PROGRESSING, True, reasons.DRAINING, f"{len(leaving)} pods end their {calls} calls.")
    elsewhere = rollout.stable != standing.observed.wanted and rollout.stable != pool.spec.rollout.rollback_to
    if rollout.problem and (elsewhere or ready < wanted or not ready):
        return Observed.told(CONDITION_PROGRESSING, False, rollout.problem)
    if ready < wanted:
        message = f"{ready} of {wanted} pods of the wanted version are ready."
        return _progress(reasons.STARTING, message, standing, rollout.stable)
    if (surplus := len(standing.settled) - wanted) > 0:
        message = f"{surplus} more pods than wanted stay until their calls end."
        return Observed(CONDITION_PROGRESSING, True, reasons.SCALING_DOWN, message)
    message = "Every pod is of the wanted version." if wanted else "No pod is wanted."
    return Observed(CONDITION_PROGRESSING, False, reasons.UP_TO_DATE, message)


def _not_draining(pods: Sequence[ObservedPod]) -> str:
    name, calls = pods[0].view.name, pods[0].view.sessions or 0
    others = f" and {len(pods) - 1} more" if len(pods) > 1 else ""
    return (
        f"Pod {name}{others} was told to leave, and its worker goes on: SIGTERM does not reach it, so calls may still "
        "come to it. Have the start script, in spec.agent.command or in the image, begin the program with `exec`. "
        f"`kubectl delete pod {name} --grace-period=1` ends this one at once, with its {calls} calls."
    )


def _progress(reason: Reason, message: str, standing: Standing, revision: str) -> Observed:
    """Return what goes on, and why no pod of a revision is ready where one says so."""
    told = [
        word
        for pod in standing.of(revision)
        if pod.view.stays
        for word in (pod.trouble, pod.crash, pod.unready)
        if word
    ]
    ready = any(pod.serves for pod in standing.of(revision)) and reason != reasons.STARTING
    words = [] if ready else told[:1]
    return Observed(CONDITION_PROGRESSING, True, reason, " ".join([message, *words]))


def _scaling(standing: Standing) -> Observed:
    desired = standing.desired
    if not desired.limited:
        return Observed(CONDITION_SCALING_LIMITED, False, reasons.WITHIN_LIMITS, desired.reason)
    waits = standing.done.counts.waiting
    waiting = f" {waits} rooms wait for an agent." if waits else ""
    return Observed(CONDITION_SCALING_LIMITED, True, reasons.MAX_REPLICAS_REACHED, f"{desired.reason}{waiting} {_GROW}")


def _runner(pool: VoiceAgentPool, standing: Standing) -> Observed:
    if not pool.spec.agent.injected:
        message = (
            "With agent.runner None your own code keeps sessionsPerPod, idleProcesses, initializeTimeoutSeconds, "
            "drainTimeoutSeconds and metricsPort, and a pod is Ready before it is warm and registered."
        )
        return Observed(CONDITION_RUNNER_APPLIED, False, reasons.RUNNER_NOT_INJECTED, message)
    pods = [pod for pod in standing.pods.staying if pod.view.version == standing.stable]
    told = sorted({text for pod in pods if pod.worker for text in pod.worker.not_applied})
    if told:
        message = f"Not applied in this image: {'; '.join(told)}. {_DO_IT_YOURSELF}"
        return Observed(CONDITION_RUNNER_APPLIED, False, reasons.PARTLY_APPLIED, message)
    if any(pod.worker for pod in pods):
        return Observed(CONDITION_RUNNER_APPLIED, True, reasons.APPLIED, "The runner applies everything in this image.")
    ends = [words for pod in pods for words in (pod.crash, pod.trouble) if words]
    if refused := next((words for words in ends if RUNNER_REFUSES in words), None):
        message = f"{refused} See the log of that pod, and change spec.agent.image or spec.agent.runner."
        return Observed(CONDITION_RUNNER_APPLIED, False, reasons.WORKER_REFUSED, message)
    if trouble := next(iter(ends), None):
        message = f"No pod of this version has answered yet: see its log. {trouble}"
        return Observed(CONDITION_RUNNER_APPLIED, None, reasons.NOT_HEARD, message)
    message = (
        f"No pod of this version answers on port {AGENT_STATUS_PORT}: have spec.agent.command run livekit-agents on "
        "Python or Node.js and keep PYTHONPATH or NODE_OPTIONS, or set spec.agent.runner to None for an agent that is "
        "made otherwise."
    )
    return Observed(CONDITION_RUNNER_APPLIED, None, reasons.NOT_HEARD, message)
