"""Ending a pod's processes the hard way."""

import os
import signal
from pathlib import Path

from tests.harness.kubectl import Kubectl, Manifest


async def sigkill(kubectl: Kubectl, pod: Manifest) -> None:
    """Kill a pod's processes with SIGKILL, from outside; the kubelet starts its containers again.

    In another cluster than the local one the pod is deleted without grace instead.
    """
    if not kubectl.target.local:
        await kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
        return
    pids = _processes(pod["metadata"]["uid"])
    if not pids:
        raise AssertionError(f"pod {pod['metadata']['name']} has no process on this machine")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def _processes(uid: str) -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if _belongs(folder, uid)]


def _belongs(process: Path, uid: str) -> bool:
    try:
        groups = (process / "cgroup").read_text()
        command = (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # The pause process keeps the pod's sandbox; without it the kubelet would make a new pod network as well.
    return uid in groups.replace("_", "-") and b"pause" not in command and command != b""
