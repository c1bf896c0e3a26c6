"""The calls of a pool as its status lists them."""

from datetime import datetime, timedelta

from livekit_operator.api.voiceagentpool import SessionStatus
from livekit_operator.moments import timestamp
from livekit_operator.outside import said
from livekit_operator.pools.pods import Pods
from livekit_operator.pools.told import ToldSessions

_MOST_SESSIONS = 50
_SESSIONS_KEPT = timedelta(seconds=10)


def list_sessions(pods: Pods, before: ToldSessions | None, now: datetime) -> ToldSessions:
    """Return the calls and what their agents do, those first that did nothing for longest.

    The same as `before` for a few seconds while they are the same calls: what they do changes with every sentence.
    """
    held = [(job, pod.view.name) for pod in pods.every if pod.worker for job in pod.worker.jobs or ()]
    calls = frozenset(job.id for job, _ in held)
    if before and before.calls == calls and now - before.at < _SESSIONS_KEPT:
        return before
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
    return ToldSessions(now, calls, lines)
