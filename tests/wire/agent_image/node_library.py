"""The @livekit/agents of a version, installed once for all runs of the tests.

What is installed is in `node_agents/<version>/package-lock.json`, with a hash of each package. No package's script is
run. To change it: `npm install --package-lock-only --omit-lockfile-registry-resolved @livekit/agents@<version>`.
"""

import functools
import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster import layout, locking, tools

FOLDER = Path(__file__).parent / "node_agents"
OLDEST, NEWEST = "1.2.0", "1.9.0"
_INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error")
_MOST_SECONDS = 1200


def node() -> str:
    """Return the path of Node.js, which the development environment brings (Makefile)."""
    return os.environ.get("NODE") or shutil.which("node") or "node"


def library(version: str) -> Path:
    """Return the folder `node_modules` with a version of the library; installs it the first time.

    Raises subprocess.CalledProcessError with what npm says.
    """
    lock = FOLDER / version / "package-lock.json"
    folder = layout.CACHE / "node" / tools.digest([], [(lock.name, lock.read_bytes())])
    return locking.made_once(folder, f"node-{version}", functools.partial(_make, lock.parent)) / "node_modules"


def _make(packages: Path, folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(packages / name, folder / name)
    subprocess.run(_INSTALL, cwd=folder, check=True, timeout=_MOST_SECONDS)
