"""Releases of livekit-agents that agents of one's own may have: one of each minor version, with an environment each.

What each is made of is locked in `requirements/agents/`; the newest is the one of the tests' own environment. An
environment lies in the cache under a key of everything that decides the outcome, so it is made once.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

from livekit.agents import __version__ as newest

from tests.cluster import layout, locking, progress, tools
from tests.cluster.errors import ClusterError
from voice_agent.runner.injected import OLDEST

LOCKS = layout.REPOSITORY / "requirements" / "agents"
# Beside those of older releases: of the newest, with what some programs start an agent by.
OPENTELEMETRY = "opentelemetry"


def minor(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version."""
    first, second, *_ = version.split(".")
    return int(first), int(second)


NEWEST = "{}.{}".format(*minor(newest))


def locked() -> list[str]:
    """Return the minor versions that have a lock, the oldest first."""
    return sorted((path.stem for path in LOCKS.glob("[0-9]*.txt")), key=minor)


def supported() -> list[str]:
    """Return the minor versions that the runner can hold to a pool's settings, the oldest first."""
    return [*(one for one in locked() if minor(one) >= minor(OLDEST)), NEWEST]


def python(name: str) -> str:
    """Return the interpreter with a minor version, or with what the lock of this name has; made if it is not there.

    Raises ClusterError with the end of what was said when it cannot be made.
    """
    return sys.executable if name == NEWEST else str(_ensure(name) / "bin" / "python")


@functools.cache
def _ensure(name: str) -> Path:
    lock = LOCKS / f"{name}.txt"
    folder = layout.CACHE / "agents" / f"{name}-{tools.digest([sys.version], [(lock.name, lock.read_bytes())])}"
    return locking.made_once(folder, f"agents-{name}", functools.partial(_make, lock))


def _make(lock: Path, folder: Path) -> None:
    with progress.step(f"livekit-agents {lock.stem}") as step:
        # Relocatable: it gets its name when it is complete.
        _uv("venv", "--relocatable", "--clear", "--python", sys.executable, str(folder))
        target = str(folder / "bin" / "python")
        _uv("pip", "sync", "--compile-bytecode", "--require-hashes", "--python", target, str(lock))
        step.result = "made"


def _uv(*words: str) -> None:
    program = Path(sys.executable).with_name("uv")
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environ["UV_COMPILE_BYTECODE_TIMEOUT"] = "0"  # a busy machine may take longer than its minute for one file
    done = subprocess.run([program, "--quiet", *words], env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"uv {' '.join(words[:2])} failed:\n{done.stderr[-2000:]}")
