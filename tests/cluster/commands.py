"""Running other programs to their end."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import ClusterError


def run(
    *argv: str | Path,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 300,
) -> str:
    """Run a program and return its output; a failure carries everything that it said."""
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=timeout,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{_shown(argv)} did not end within {timeout:.0f} s") from error
    if done.returncode:
        raise ClusterError(f"{_shown(argv)} failed ({done.returncode}):\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def succeeds(*argv: str | Path, timeout: float = 60) -> bool:
    """Whether a program exits with 0, whatever it prints."""
    try:
        run(*argv, timeout=timeout)
    except ClusterError:
        return False
    return True


def _shown(argv: Sequence[str | Path]) -> str:
    return " ".join(str(word) for word in argv)
