"""The decision of a pool's pass: which versions serve, how many pods of each there should be, what that takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import Autoscaling, Schedule, VoiceAgentPool
from livekit_operator.errors import Problem
from livekit_operator.pools.decisions import rollout as pods_plan
from livekit_operator.pools.decisions.autoscaling import Demand, Desired, desired_replicas, minimum_now
from livekit_operator.pools.decisions.history import Rollout, choose
from livekit_operator.pools.decisions.rollout import CANARY, STABLE, Target
from livekit_operator.pools.manifests import versions
from livekit_operator.pools.manifests.pod import PodInputs, inputs_digest
from livekit_operator.pools.manifests.versions import PoolVersion
from livekit_operator.pools.observe import Observation, Runnable
from livekit_operator.pools.pods import Pods
from livekit_operator.pools.versions import judged
from livekit_operator.reconciling.decisions.brakes import PodHistory


@dataclass(frozen=True)
class Plan:
    """What runs, how many pods are wanted, and which to create and delete for that."""

    known: Mapping[str, PoolVersion]
    rollout: Rollout
    """Its problem may be that of a schedule as well."""
    inputs: Mapping[str, PodInputs]
    desired: Desired
    recent: Sequence[tuple[datetime, int]]
    """Numbers of pods that were wanted lately, and when."""
    moment: datetime
    """When this was decided."""
    made: PodHistory
    """When pods were made, and which were of no use, as it was observed."""
    targets: Mapping[str, str]
    """Track -> version wanted on it, as `PodView.version` writes it."""
    pods: pods_plan.Plan
    again: float
    """When the next pass is due for what is missing (seconds)."""


def decide_versions(pool: VoiceAgentPool, revision: str, known: Mapping[str, PoolVersion]) -> Rollout:
    """Return which of the versions that are known run where this revision is wanted."""
    return choose(pool.spec.rollout, revision, judged(known))


def decide(pool: VoiceAgentPool, observed: Observation, runnable: Runnable) -> Plan:
    """Return what this pass is to do."""
    known, rollout, pods = runnable.known, runnable.rollout, observed.pods
    # As many calls a pod as the version takes that serves, not the one that is yet to come.
    serving = versions.with_template(pool, known[rollout.stable].template)
    desired, problem = _desired(serving, pods, runnable)
    if desired.replicas == 0 and _is_tried(pool, pods, known[rollout.stable]):
        reason = f"1 pod until it is known whether revision {rollout.stable} can serve."
        desired = replace(desired, replicas=1, reason=reason)
    targets = _targets(pool, pods, runnable, desired)
    return Plan(
        known=known,
        rollout=replace(rollout, problem=rollout.problem or problem),
        inputs=runnable.inputs,
        desired=desired,
        recent=runnable.recent,
        moment=runnable.now,
        made=runnable.brake.history,
        targets={target.track: target.version for target in targets},
        pods=pods_plan.plan(pods.views, targets, max_surge=pool.spec.rollout.max_surge, brake=runnable.brake),
        again=runnable.again,
    )


def _desired(pool: VoiceAgentPool, pods: Pods, runnable: Runnable) -> tuple[Desired, Problem | None]:
    """Return how many pods are wanted, and the problem of a schedule that cannot be read, which then does not count."""
    now, recent, scaling = runnable.now, runnable.recent, pool.spec.autoscaling
    demand = Demand(pods.active_sessions(STABLE, pool.spec.sessions_per_pod), runnable.waiting)
    try:
        return desired_replicas(pool.spec, demand, now, recent), None
    except ValueError as error:
        assert scaling is not None
        understood = [schedule for schedule in scaling.schedules if _is_understood(scaling, schedule, now)]
        plain = pool.spec.model_copy(update={"autoscaling": scaling.model_copy(update={"schedules": understood})})
        return desired_replicas(plain, demand, now, recent), Problem(reasons.INVALID_SCHEDULE, str(error))


def _is_understood(scaling: Autoscaling, schedule: Schedule, now: datetime) -> bool:
    try:
        minimum_now(scaling.model_copy(update={"schedules": [schedule]}), now)
    except ValueError:
        return False
    return True


def _targets(pool: VoiceAgentPool, pods: Pods, runnable: Runnable, desired: Desired) -> list[Target]:
    """Return how many pods of which version are wanted on each track."""
    known, rollout, inputs = runnable.known, runnable.rollout, runnable.inputs
    targets = [Target(_version(pool, rollout.stable, inputs), desired.replicas, STABLE)]
    canary = pool.spec.rollout.canary
    if rollout.canary and canary:
        most = versions.with_template(pool, known[rollout.canary].template).spec.sessions_per_pod
        share = ceil(desired.replicas * canary.weight / 100)
        held = ceil(pods.active_sessions(CANARY, most) / most)
        tried = _is_tried(pool, pods, known[rollout.canary])
        targets.append(Target(_version(pool, rollout.canary, inputs), max(share, held, tried), CANARY))
    if rollout.retried:
        targets.append(Target(_version(pool, rollout.retried, inputs), min(1, desired.replicas), CANARY))
    return targets


def _is_tried(pool: VoiceAgentPool, pods: Pods, version: PoolVersion) -> bool:
    """Return whether a version has pods of which none was ready yet, in a pool that scales by its calls.

    One of them stays though nobody calls any more: were it made anew with each caller, its time would begin anew, and
    a version that cannot start would never be found out.
    """
    if pool.spec.autoscaling is None or pool.spec.autoscaling.mode != "Internal":
        return False
    views = [pod.view for pod in pods.staying if pod.view.revision == version.revision]
    known = version.proven or version.served or version.failed
    return not known and bool(views) and not any(view.ready for view in views)


def _version(pool: VoiceAgentPool, revision: str, inputs: Mapping[str, PodInputs]) -> str:
    """Return the version as `PodView.version` writes it."""
    return f"{revision}/{inputs_digest(pool, inputs[revision])}"
