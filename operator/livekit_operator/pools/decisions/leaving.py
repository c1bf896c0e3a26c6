"""Whether a worker was told to leave and does not: a pure decision."""

from datetime import timedelta

from livekit_operator.views import WorkerStatus

# By then a worker that hears has said so, and one without calls is gone.
PATIENCE = timedelta(seconds=30)


def has_not_heard(
    worker: WorkerStatus | None, leaving: timedelta, *, took: bool, idle_for: timedelta | None = None
) -> bool:
    """Return whether a worker that runs goes on though its pod has been leaving for so long.

    One without the runner does not say whether it drains: it has not heard if it took calls since, or is still there
    though its last call ended a while ago (`idle_for`, None when it never had one).
    """
    if worker is None or leaving < PATIENCE:
        return False
    if worker.registered is None:
        return took or (not worker.sessions and (idle_for is None or idle_for >= PATIENCE))
    return not worker.draining


def takes_calls(before: WorkerStatus | None, now: WorkerStatus | None, leaving: timedelta) -> bool:
    """Return whether a worker has more calls than at the last look, in a pod that has been leaving for so long."""
    return before is not None and now is not None and leaving >= PATIENCE and now.sessions > before.sessions
