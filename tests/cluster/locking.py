"""One run at a time: two runs of `up`, or a build asked for twice, must not meet."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import layout, progress


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold the machine-wide lock of this name; it falls with its process, so none is ever stale."""
    # In the cache, not in a folder that `down` removes: a lock on a removed file excludes nobody.
    path = layout.CACHE / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.step(f"{name}: waiting for another run to end"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
