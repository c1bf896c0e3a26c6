"""CPU and memory of a pod of the local cluster, in windows of time."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.cgroups import hierarchies
from tests.harness.kubectl import Manifest
from tests.harness.processes import processes


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
        usage.pss_mib.append(_mib(pod, "Pss"))
        usage.anonymous_mib.append(_mib(pod, "Pss_Anon"))
    return usage


def _mib(pod: Manifest, name: str) -> float:
    """Return the sum of a line of `smaps_rollup` over a pod's processes."""
    kib = 0
    for pid in processes(pod):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        kib += sum(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    return kib / 1024


def _group(pod: Manifest) -> Path:
    """Return the control group of the pod, which counts the CPU of all its containers."""
    lines = Path(f"/proc/{processes(pod)[0]}/cgroup").read_text().splitlines()
    for hierarchy in hierarchies():
        for line in lines:
            _, controllers, path = line.split(":", 2)
            counts = "cpuacct" in hierarchy.controllers if hierarchy.version == 1 else controllers == ""
            if counts and set(controllers.split(",")) - {""} == hierarchy.controllers:
                group = (hierarchy.mount / path.lstrip("/")).parent
                if _counter(group):
                    return group
    raise RuntimeError(f"no control group counts the CPU of pod {pod['metadata']['name']}")


def _cpu_seconds(group: Path) -> float:
    counter = _counter(group)
    if counter is None:
        raise RuntimeError("the pod has ended")
    if counter.name == "cpuacct.usage":
        return int(counter.read_text()) / 1e9
    found = dict(line.split() for line in counter.read_text().splitlines())
    return int(found["usage_usec"]) / 1e6


def _counter(group: Path) -> Path | None:
    """Return the file that counts: of version 1, or of version 2."""
    return next((group / name for name in ("cpuacct.usage", "cpu.stat") if (group / name).exists()), None)
