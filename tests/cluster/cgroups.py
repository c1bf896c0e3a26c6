"""The cluster's control groups: one tree of its own in every hierarchy of the machine.

A node's processes, its containers and their shims all live below its group, so the group says for sure what is the
node's, and killing what is in it is what a power loss would be. Version 1, version 2 and both at once are served.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import processes, waiting

ROOT = "livekit-operator-cluster"
# Processes live in leaves: version 2 allows none beside child groups.
CONTROL_PLANE = f"{ROOT}/control-plane"

# What a cluster counts as where cores are short, in programs: elsewhere it would have machines of its own. As one
# program it would starve beside the voices of a story.
WEIGHT = 16
_WEIGHT_OF_ONE = {1: ("cpu.shares", 1024), 2: ("cpu.weight", 100)}

# What kubelet needs of version 2.
_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma")


@dataclass(frozen=True)
class Hierarchy:
    """One mounted cgroup hierarchy."""

    mount: Path
    version: int
    controllers: frozenset[str]


def parse_mounts(text: str) -> list[Hierarchy]:
    """The cgroup hierarchies in the text of /proc/self/mounts, each once."""
    found: dict[tuple[int, frozenset[str]], Hierarchy] = {}
    for line in text.splitlines():
        _, mount, kind, options, *_ = line.split(" ")
        if kind not in ("cgroup", "cgroup2"):
            continue
        version = 1 if kind == "cgroup" else 2
        controllers = frozenset(_controllers(options) if version == 1 else ())
        # The same hierarchy may be mounted again elsewhere, for a container for example; the first is the usual one.
        found.setdefault((version, controllers), Hierarchy(Path(_unescaped(mount)), version, controllers))
    return list(found.values())


def _controllers(options: str) -> Iterable[str]:
    generic = {"rw", "ro", "nosuid", "nodev", "noexec", "relatime", "noatime", "seclabel", "xattr", "clone_children"}
    return (option for option in options.split(",") if option not in generic and not option.startswith("release_agent"))


def _unescaped(mount: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), mount)


def hierarchies() -> list[Hierarchy]:
    """The cgroup hierarchies of this machine."""
    return parse_mounts(Path("/proc/self/mounts").read_text())


def ensure(group: str) -> None:
    """Create a group, with its ancestors, in every hierarchy."""
    for hierarchy in hierarchies():
        path = hierarchy.mount
        for part in group.split("/"):
            if hierarchy.version == 2:
                _enable_controllers(path)
            path = path / part
            path.mkdir(exist_ok=True)
            if "cpuset" in hierarchy.controllers:
                _inherit_cpuset(path)


def weigh(group: str, programs: int) -> None:
    """Let a group have as much of the cores, where these are short, as so many programs."""
    for hierarchy in hierarchies():
        name, one = _WEIGHT_OF_ONE[hierarchy.version]
        if (file := hierarchy.mount / group / name).exists():
            file.write_text(str(programs * one))


def _enable_controllers(group: Path) -> None:
    """Let a version 2 group's children use every controller that the group has itself."""
    try:
        available = (group / "cgroup.controllers").read_text().split()
    except FileNotFoundError:
        return
    wanted = [f"+{name}" for name in _CONTROLLERS if name in available]
    if wanted:
        (group / "cgroup.subtree_control").write_text(" ".join(wanted))


def _inherit_cpuset(group: Path) -> None:
    """Give a version 1 cpuset its parent's CPUs and memory nodes: a new one has none and takes no process."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not (group / name).read_text().strip():
            (group / name).write_text((group.parent / name).read_text())


def procs_files(group: str) -> tuple[Path, ...]:
    """The files a process writes its pid to, to enter a group."""
    return tuple(hierarchy.mount / group / "cgroup.procs" for hierarchy in hierarchies())


def members(group: str) -> list[int]:
    """The processes in a group and in all groups below it."""
    pids: set[int] = set()
    for folder in _folders(group):
        try:
            pids.update(int(pid) for pid in (folder / "cgroup.procs").read_text().split())
        except (FileNotFoundError, OSError):
            # A group may go away while we look: then nothing is left in it.
            continue
    return sorted(pids)


def kill(group: str) -> None:
    """Kill every process in a group, and those that are born meanwhile."""

    def emptied() -> bool:
        pids = members(group)
        processes.kill_all(pids)
        return not pids

    waiting.wait_for(f"end of all processes in the cgroup {group}", emptied, 60)


def remove(group: str) -> None:
    """Kill what is in a group and remove it, with all groups below it, from every hierarchy."""
    kill(group)

    def removed() -> bool:
        left = _folders(group)
        for folder in left:
            try:
                folder.rmdir()
            except OSError:
                # Busy for a moment after its last process ended.
                continue
        return not left

    waiting.wait_for(f"removal of the cgroup {group}", removed, 60)


def _folders(group: str) -> list[Path]:
    """The group's folders in all hierarchies, children before their parents."""
    return [
        Path(folder) for hierarchy in hierarchies() for folder, _, _ in os.walk(hierarchy.mount / group, topdown=False)
    ]
