"""The cluster's command line: python -m tests.cluster up | down | status | images | tools."""

import argparse
import os
import shutil
import sys

from tests.cluster import lifecycle, progress, tools
from tests.cluster.errors import ClusterError

_COMMANDS = {
    "up": "bring the cluster up, or heal it (NODES=n: nodes, else 2; EGRESS=1: a way out for pods, else none)",
    "down": "take every trace of it away",
    "status": "show what runs",
    "images": "build the images that changed and bring them to the nodes",
    "tools": "build the tools and link them into .cluster/bin",
}


def main() -> int:
    """Run one command; errors are for reading, not for a traceback."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, explanation in _COMMANDS.items():
        commands.add_parser(name, help=explanation)
    command = parser.parse_args().command
    try:
        _check_machine()
        return _run(command)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(command: str) -> int:
    match command:
        case "up":
            lifecycle.up(lifecycle.node_count_from_environment(), with_egress=lifecycle.egress_from_environment())
        case "down":
            lifecycle.down()
        case "status":
            return 0 if lifecycle.status() else 1
        case "images":
            lifecycle.load_images()
        case "tools":
            tools.ensure_all()
    progress.keep_timings(command)
    return 0


def _check_machine() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise ClusterError("the local cluster needs Linux and root; KUBECONFIG can name another cluster instead")
    if not shutil.which("go"):
        raise ClusterError("the local cluster builds its tools with Go, which is not on the PATH")


if __name__ == "__main__":
    sys.exit(main())
