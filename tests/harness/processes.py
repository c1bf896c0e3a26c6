"""A pod's processes as the machine sees them: for ending them the hard way and for measuring their memory."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.harness.kubectl import Kubectl, Manifest


async def sigkill(kubectl: Kubectl, pod: Manifest) -> None:
    """Kill a pod's processes with SIGKILL, from outside; the kubelet starts its containers again.

    In another cluster than the local one the pod is deleted without grace instead.
    """
    if not kubectl.target.local:
        await kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
        return
    for pid in processes(pod):
        # A container's first process takes the others along.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes(pod: Manifest) -> list[int]:
    """Return the pids of a pod of the local cluster, its sandbox's left out; raises AssertionError without any."""
    uid = pod["metadata"]["uid"]
    pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if _belongs(folder, uid)]
    if not pids:
        raise AssertionError(f"pod {pod['metadata']['name']} has no process on this machine")
    return sorted(pids)


def pss_mib(pod: Manifest) -> float:
    """Return the memory of a pod: the sum of its processes' proportional set sizes, in MiB.

    Resident set sizes would count what forked processes share once for each of them.
    """
    return sum(_pss_kib(pid) for pid in processes(pod)) / 1024


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it ended meanwhile
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _belongs(process: Path, uid: str) -> bool:
    try:
        groups = (process / "cgroup").read_text()
        command = (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # The pause process keeps the pod's sandbox; without it the kubelet would make a new pod network as well.
    return uid in groups.replace("_", "-") and b"pause" not in command and command != b""
