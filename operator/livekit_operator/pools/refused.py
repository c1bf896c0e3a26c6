"""Pools that may not use their server, or no longer: they keep neither its key nor pods.

Their calls end within the pool's drain timeout, as on any other draining pod; a rotation of the server's keys does not
wait for them. What is left, versions and accounts, gives no access to anything.
"""

from datetime import datetime, timedelta

from livekit_operator import reasons
from livekit_operator.api.voiceagentpool import VoiceAgentPool, VoiceAgentPoolStatus
from livekit_operator.conditions import Observed
from livekit_operator.constants import CONDITION_AGENTS_AVAILABLE, CONDITION_PROGRESSING, CONDITION_PROVIDERS_ACCEPTED
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Problem
from livekit_operator.moments import parse_timestamp
from livekit_operator.pools.context import Context
from livekit_operator.pools.links import wake_any_room
from livekit_operator.pools.manifests import children as build
from livekit_operator.pools.manifests import records
from livekit_operator.pools.metrics import PoolMetrics
from livekit_operator.pools.pods import Pods, observe_pods, remember
from livekit_operator.pools.prepare import restore_labels
from livekit_operator.pools.writes import remove
from livekit_operator.reconciling import children
from livekit_operator.reconciling.status import Outcome, plain
from livekit_operator.servers.links import is_undeclared


async def dismiss(context: Context, pool: VoiceAgentPool, why: Problem) -> Outcome:
    """Take the key and the pods from a pool, and tell how its calls end."""
    memory = context.pool_memory(pool.key)
    memory.offer_nothing()
    memory.canary_weight = 0
    told, memory.problem = memory.problem, why
    await children.remove_secrets(context, pool, spare=records.records_name(pool))
    await restore_labels(context, pool, memory)
    pods = await observe_pods(context, pool, memory)
    now = context.now()
    remember(memory, pods, now)
    for pod in pods.every:
        if "deletionTimestamp" not in pod.manifest["metadata"]:
            await remove(context, memory, "Pod", pod.manifest)
    for room in memory.rooms:
        if is_undeclared(room) or memory.problem != told:
            wake_any_room(context, room)  # it tells why no agent comes, or is no room of the pool's any more
    refused = memory.refusals.problem
    conditions = _conditions(why, pods, _last_end(pods, now), refused)
    fields = _fields(pool, pods)
    context.metrics.of(PoolMetrics).show(*pool.key, plain(fields))
    return Outcome(conditions, fields, context.settings.pool_poll_seconds if pods.every or refused else None)


def _conditions(why: Problem, pods: Pods, end: datetime | None, refused: Problem | None) -> list[Observed]:
    calls = sum(pod.view.sessions or 0 for pod in pods.every)
    ready, draining = why.message, Observed(CONDITION_PROGRESSING, False, why.reason, "It has neither key nor pods.")
    if end:
        left = f"{len(pods.every)} pods end their {calls} calls, at the latest at {end:%Y-%m-%dT%H:%M:%SZ}."
        ready, draining = f"{why.message} Its {left}", Observed(CONDITION_PROGRESSING, True, reasons.DRAINING, left)
    if refused:
        ready = f"{ready} {refused.message}"
    unavailable = Observed.told(CONDITION_AGENTS_AVAILABLE, False, why)
    unasked = Observed(CONDITION_PROVIDERS_ACCEPTED, None, why.reason, "No agent is there to ask the providers.")
    return [Observed.not_ready(Problem(why.reason, ready)), draining, unavailable, unasked]


def _last_end(pods: Pods, now: datetime) -> datetime | None:
    """Return when the last pod is killed, calls or not; None when there is none."""
    return max((_end(pod.manifest, now) for pod in pods.every), default=None)


def _end(pod: Manifest, now: datetime) -> datetime:
    """Return when a terminating pod is killed."""
    metadata, grace = pod["metadata"], int(pod["spec"].get("terminationGracePeriodSeconds") or 0)
    told = metadata.get("deletionTimestamp")
    # Told a moment ago, its grace period is not in what the cache has.
    return (
        max(parse_timestamp(told), now)
        if told and "deletionGracePeriodSeconds" in metadata
        else now + timedelta(seconds=grace)
    )


def _fields(pool: VoiceAgentPool, pods: Pods) -> VoiceAgentPoolStatus:
    calls = sum(pod.view.sessions or 0 for pod in pods.every)
    return VoiceAgentPoolStatus(
        agent_name=build.agent_name(pool),
        selector=build.pod_selector(pool),
        replicas=0,
        desired_replicas=0,
        ready_replicas=0,
        updated_replicas=0,
        idle_replicas=0,
        desired_reason="The pool may not use its server.",
        draining_replicas=len(pods.every),
        busy_replicas=sum(bool(pod.view.sessions) for pod in pods.every),
        active_sessions=calls,
        free_sessions=0,
        waiting_sessions=0,
        remaining_sessions=calls,
        sessions=[],
        versions=[],
    )
