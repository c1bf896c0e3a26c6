"""A pod's processes as the machine sees them: to end them the hard way, to tell them apart, to measure their memory."""

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


def life(pod: Manifest) -> tuple[str, int]:
    """Return what changes when a pod is replaced or one of its containers starts again."""
    return pod["metadata"]["uid"], sum(one["restartCount"] for one in pod["status"]["containerStatuses"])


def pss_mib(pod: Manifest, line: str = "Pss") -> float:
    """Return the memory of a pod: the sum of its processes' proportional set sizes, in MiB.

    Resident set sizes would count what forked processes share once for each of them. `line` is another one of
    /proc/PID/smaps_rollup, such as `Pss_Anon` for what is no file's.
    """
    return sum(smaps_kib(_rollup(pid), line) for pid in processes(pod)) / 1024


def smaps_kib(text: str, line: str) -> int:
    """Return the KiB that a line of /proc/PID/smaps_rollup tells; nothing of a process that has ended."""
    found = (row.split() for row in text.splitlines() if row.startswith(f"{line}:"))
    return next((int(words[1]) for words in found), 0)


def _rollup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it ended meanwhile


def _belongs(process: Path, uid: str) -> bool:
    try:
        groups = (process / "cgroup").read_text()
        command = (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # The pause process keeps the pod's sandbox; without it the kubelet would make a new pod network as well.
    return uid in groups.replace("_", "-") and b"pause" not in command and command != b""
