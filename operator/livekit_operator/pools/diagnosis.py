"""Why a pool's rooms get no agent, and whether the pool is ready: pure, over what was observed, planned and done."""

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.conditions import Observed
from livekit_operator.errors import Problem
from livekit_operator.pools.decisions.agent_problems import PERSONAL_REASONS, UNSERVED_REASONS, AgentFacts, diagnose
from livekit_operator.pools.decisions.autoscaling import Desired
from livekit_operator.pools.decisions.failing import count_failing
from livekit_operator.pools.manifests import children as build
from livekit_operator.pools.pods import free_sessions
from livekit_operator.pools.providers import provider_problems, provider_reason
from livekit_operator.pools.standing import Standing


def why_unserved(pool: VoiceAgentPool, standing: Standing) -> Problem | None:
    """Return why rooms get no agent, None when agents are there to be had."""
    problem = _diagnosed(pool, standing)
    if standing.reached:
        return problem
    ready = _ready(pool, standing, problem)
    if ready.status is False and problem is None:
        return Problem(ready.reason, ready.message)
    if standing.rollout.problem and problem and problem.reason in PERSONAL_REASONS:
        return standing.rollout.problem
    return problem


def why_failing(standing: Standing) -> Problem | None:
    """Return that agents come to calls and fail there: None while calls last, or no pod is ready for any."""
    stable = [pod for pod in standing.pods.staying if not pod.deployment]
    jobs = [job for pod in stable if pod.worker for job in pod.worker.jobs or ()]
    names = {pod.view.name for pod in stable}
    ended = [one for one in standing.done.counts.ended if one.pod in names]
    failing = count_failing(ended, jobs, standing.done.at)
    if failing is None or not standing.reached:
        return None
    return Problem(reasons.AGENT_FAILING, f"{failing.words}. See `kubectl logs {failing.last.pod}`.")


def is_ready(pool: VoiceAgentPool, standing: Standing) -> Observed:
    """Return the condition `Ready`."""
    return _ready(pool, standing, _diagnosed(pool, standing))


def _diagnosed(pool: VoiceAgentPool, standing: Standing) -> Problem | None:
    problem = diagnose(_agent_facts(pool, standing))
    if problem and problem.reason == reasons.PROVIDER_REJECTED:
        return Problem(provider_reason(standing.pods.mute(standing.stable)), problem.message)
    return problem


def _agent_facts(pool: VoiceAgentPool, standing: Standing) -> AgentFacts:
    """Return what diagnosing needs."""
    pods, counts, reached = standing.pods, standing.done.counts, standing.reached
    errors = pods.mute(standing.stable)
    answering = [pod.worker for pod in reached if pod.worker and pod.answered]
    there = sum(not pod.deployment or pod.deployment == standing.canary for pod in pods.staying) + standing.done.created
    since = counts.unanswered
    retried = standing.rollout.retried
    return AgentFacts(
        ready_pods=len(reached),
        pods=there,
        registered=sum(worker.registered is not False for worker in answering),
        crash=next((pod.crash for pod in pods.staying if pod.crash and pod.view.revision != retried), None),
        free_sessions=free_sessions(pool, pods, ""),
        at_limit=standing.desired.limited or _is_full_grown(pool, standing.desired),
        fixed=standing.desired.replicas if pool.spec.autoscaling is None else None,
        held_back=standing.held_back.message if standing.held_back else None,
        heard=pods.heard,
        stuck=standing.trouble or standing.unready,
        waiting=counts.waiting,
        provider_problem=provider_problems(errors) if errors else None,
        wanted_name=build.agent_name(pool),
        names=tuple(sorted({worker.agent_name for worker in answering if worker.agent_name is not None})),
        wanted_deployments=tuple(sorted({pod.deployment for pod in reached})) or ("",),
        deployments=tuple(sorted({worker.deployment for worker in answering if worker.deployment is not None})),
        target_load=standing.observed.target_load,
        loads=tuple(worker.load for worker in answering if worker.load is not None and not worker.sessions),
        unconnected=counts.unconnected,
        dispatch_age=(standing.done.at - since).total_seconds() if since else None,
    )


def _is_full_grown(pool: VoiceAgentPool, desired: Desired) -> bool:
    scaling = pool.spec.autoscaling
    return scaling is not None and scaling.mode == "Internal" and desired.replicas >= scaling.max_replicas


def _ready(pool: VoiceAgentPool, standing: Standing, problem: Problem | None) -> Observed:
    pods, desired = standing.pods, standing.desired
    if errors := pods.mute(standing.stable):
        return Observed.not_ready(Problem(provider_reason(errors), provider_problems(errors)))
    if fault := standing.rollout.problem or why_failing(standing):
        return Observed.not_ready(fault)
    serving = standing.reached
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
    if not serving and standing.observed.server_problem:
        return Observed.not_ready(standing.observed.server_problem)
    return Observed.not_ready(Problem(reason, " ".join(filter(None, [message, standing.unready]))))
