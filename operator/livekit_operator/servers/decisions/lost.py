"""When a replica of a server counts as lost, and with it the rooms it had.

its pod is gone, and nobody had terminated it        -> lost
its container is another one than before             -> lost: it restarted, and rooms are in memory
ready for Kubernetes, and did not answer twice       -> unreachable; lost if clients are led to it
"""

from dataclasses import dataclass

# A machine that is busy for a moment makes a replica miss one answer, not two in a row.
_SILENT = 2


@dataclass(frozen=True)
class Known:
    """What was known of a replica: the id of its container, empty before it ran, and whether it was terminating."""

    container: str | None
    leaving: bool


def is_silent(silent: int) -> bool:
    """Return whether a replica that did not answer so often in a row counts as one that does not answer."""
    return silent >= _SILENT


def is_unreachable(*, ready: bool, silent: int) -> bool:
    """Return whether a replica is up for Kubernetes alone."""
    return ready and is_silent(silent)


def lost_with_its_pod(known: Known) -> bool:
    """Return whether a replica is lost whose pod is there no more."""
    return bool(known.container) and not known.leaving


def is_lost(known: Known, container: str | None, *, unreachable: bool, serving: bool) -> bool:
    """Return whether a replica is lost whose pod is still there; `container` is the id of the one in it now."""
    restarted = bool(known.container) and container != known.container
    return restarted or (unreachable and serving)
