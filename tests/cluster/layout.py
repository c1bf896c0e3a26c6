"""Where the cluster keeps its files.

Three places: the checkout's `.cluster/` for what people and tests read, a cache that outlives every cluster, and two
machine-wide folders for what runs: addresses and cgroups are machine-wide as well, so there is one cluster a machine.
"""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

STATE = REPOSITORY / ".cluster"
KUBECONFIG = STATE / "kubeconfig"
LOGS = STATE / "logs"
BIN = STATE / "bin"
IMAGES = STATE / "images.json"
TIMINGS = STATE / "timings.json"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "livekit-operator"

# Not below `.cluster/`: overlayfs needs a plain file system, and a checkout may lie on an overlay itself.
DATA = Path("/var/lib/livekit-operator-cluster")
# Short, because a socket's path has at most 107 characters.
RUN = Path("/run/livekit-operator-cluster")
PKI = DATA / "pki"
OWNER = DATA / "owner"
