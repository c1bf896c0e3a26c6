"""Waiting for a condition, with a deadline and an error that says what was missing."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.cluster.errors import ClusterError, log_tail

POLL_SECONDS = 0.1


def wait_for(what: str, holds: Callable[[], bool], timeout: float, logs: Iterable[Path] = ()) -> None:
    """Return once `holds` does; after `timeout` seconds fail, showing the end of the logs."""
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {timeout:.0f} s" + "".join(log_tail(log) for log in logs))
        time.sleep(POLL_SECONDS)
