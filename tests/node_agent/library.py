"""The @livekit/agents of a version, installed once for all runs of the tests.

What is installed is in `releases/<version>/package-lock.json`, with a hash of each package. No package's script is run.
To change it: `npm install --package-lock-only --omit-lockfile-registry-resolved @livekit/agents@<version>`.
"""

import functools
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.cluster import layout, locking, tools

FOLDER = Path(__file__).parent / "releases"
OLDEST, NEWEST = "1.2.0", "1.9.0"
_INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error")
_MOST_SECONDS = 1200
_FOR_WRITING_CODE = (".map", ".ts", ".cts", ".mts")


def node() -> str:
    """Return the path of Node.js, which the development environment brings (Makefile)."""
    return os.environ.get("NODE") or shutil.which("node") or "node"


def library(version: str) -> Path:
    """Return the folder `node_modules` with a version of the library; installs it the first time.

    Raises subprocess.CalledProcessError with what npm says.
    """
    lock, folder = FOLDER / version / "package-lock.json", layout.CACHE / "node" / digest(version)
    return locking.made_once(folder, f"node-{version}", functools.partial(_make, lock.parent)) / "node_modules"


def digest(version: str) -> str:
    """Return what changes when other packages are installed."""
    lock = FOLDER / version / "package-lock.json"
    return tools.digest([], [(lock.name, lock.read_bytes())])


def archive(version: str) -> Path:
    """Return the library as a tar archive, beside a Node.js of its own; made first when it is not in the cache.

    Raises what `library` raises.
    """
    packages, made = library(version), layout.CACHE / "node" / f"{digest(version)}.tar"
    with locking.exclusive(made.stem):
        if not made.exists():
            unfinished = made.with_suffix(".unfinished")
            with tarfile.open(unfinished, "w") as tar:
                tar.add(packages, "node_modules", filter=_at_run_time)
            unfinished.rename(made)
    return made


def _at_run_time(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.endswith(_FOR_WRITING_CODE) else member


def _make(packages: Path, folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(packages / name, folder / name)
    subprocess.run(_INSTALL, cwd=folder, check=True, timeout=_MOST_SECONDS)
