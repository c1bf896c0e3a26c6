"""CPU and memory of a pod of the local cluster, in windows of time."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.cgroups import hierarchies
from tests.harness.kubectl import Manifest
from tests.harness.processes import processes, pss_mib
from tests.harness.usage import group_seconds


@dataclass
class Usage:
    """What a pod used, a value for each window."""

    cores: list[float] = field(default_factory=list)
    """CPU seconds per second, of processes that ended meanwhile as well."""
    pss_mib: list[float] = field(default_factory=list)
    """Memory at the window's end: the sum of proportional set sizes. What other pods map as well counts in part."""
    anonymous_mib: list[float] = field(default_factory=list)
    """That without files: what the pod shares with no other, and what its next process adds."""


async def measure_usage(pod: Manifest, *, windows: int = 5, seconds: float = 4.0) -> Usage:
    """Measure a pod for so many windows of so many seconds."""
    group, usage = _group(pod), Usage()
    for _ in range(windows):
        began, used = time.monotonic(), _cpu_seconds(group)
        await asyncio.sleep(seconds)
        usage.cores.append((_cpu_seconds(group) - used) / (time.monotonic() - began))
        usage.pss_mib.append(pss_mib(pod))
        usage.anonymous_mib.append(pss_mib(pod, "Pss_Anon"))
    return usage


def _group(pod: Manifest) -> Path:
    """Return the control group of the pod, which counts the CPU of all its containers."""
    lines = Path(f"/proc/{processes(pod)[0]}/cgroup").read_text().splitlines()
    for hierarchy in hierarchies():
        for line in lines:
            _, controllers, path = line.split(":", 2)
            counts = "cpuacct" in hierarchy.controllers if hierarchy.version == 1 else controllers == ""
            if counts and set(controllers.split(",")) - {""} == hierarchy.controllers:
                group = (hierarchy.mount / path.lstrip("/")).parent
                if group_seconds(group) is not None:
                    return group
    raise RuntimeError(f"no control group counts the CPU of pod {pod['metadata']['name']}")


def _cpu_seconds(group: Path) -> float:
    seconds = group_seconds(group)
    if seconds is None:
        raise RuntimeError("the pod has ended")
    return seconds
