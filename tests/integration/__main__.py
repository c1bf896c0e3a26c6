"""The integration tests beside each other: python -m tests.integration [--kubernetes 1.33] [--part quiet] [pytest's].

What they need and is missing is installed and built first, where its progress is seen and no test's time runs out.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import kubernetes_version, tools
from tests.cluster.errors import ClusterError
from tests.harness.control_plane import ensure_programs

# One control plane each; a third one no longer pays on two cores.
_PROCESSES = "2"
PARTS = {
    # Long tests are few: whoever has none left takes some of the other's.
    "together": ("-m", "not quiet", "--numprocesses", _PROCESSES, "--dist", "worksteal"),
    # What measures moments has the cores to itself.
    "quiet": ("-m", "quiet"),
}


def main() -> int:
    """Have what the tests need, and run them."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration", description=__doc__)
    parser.add_argument("--kubernetes", default="", help="another version than the pinned one: 1.33, or 1.33.6")
    parser.add_argument("--part", choices=(*PARTS, "all"), default="all", help="those that any may run beside, or not")
    asked, arguments = parser.parse_known_args()
    try:
        if asked.kubernetes:
            # The release itself: pytest's processes do not ask again.
            os.environ[kubernetes_version.VARIABLE] = kubernetes_version.release(asked.kubernetes)
        ensure_programs()
        for module in (tools.HELM, tools.LIVEKIT):
            tools.ensure(module)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    folder = str(Path(__file__).parent)
    parts = PARTS.values() if asked.part == "all" else (PARTS[asked.part],)
    codes = [
        subprocess.run([sys.executable, "-m", "pytest", folder, "-v", *part, *arguments], check=False).returncode
        for part in parts
    ]
    # A part may have nothing of what was asked for, not both.
    return max((code for code in codes if code != pytest.ExitCode.NO_TESTS_COLLECTED), default=codes[0])


if __name__ == "__main__":
    sys.exit(main())
