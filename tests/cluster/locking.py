"""One run at a time: two runs of `up`, or a build asked for twice, must not meet."""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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


def made_once(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, made first where it is not there: elsewhere, so that it is never there in part."""
    if folder.is_dir():
        return folder
    with exclusive(name):
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
            try:
                make(unfinished)
                unfinished.chmod(0o755)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder
