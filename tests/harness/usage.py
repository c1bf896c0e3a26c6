"""What a story costs: the seconds of CPU that its pods, the cluster's programs and its own process took.

Of the local cluster, whose control groups count what is in them.
"""

import re
import resource
import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import cgroups, layout
from tests.cluster.stat import Stat

_EVERY_SECONDS = 1.0
# A kubelet keeps the logs of each pod in a folder with this name.
_POD = re.compile(r"(?P<namespace>[^_]+)_(?P<name>[^_]+)_(?P<uid>[0-9a-f-]{36})")
_QUALITIES = ("/burstable", "/besteffort", "")


class Meter:
    """Looks again and again what pods have used, for a pod's count goes with it."""

    def __init__(self) -> None:
        self.pods: dict[tuple[str, str], float] = {}
        """Namespace and name of each pod that was seen -> its seconds of CPU."""
        self._groups: dict[str, Path] = {}
        self._before = programs()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look for the last time."""
        self._over.set()
        self._thread.join()

    def of(self, namespace: str, *, since: Mapping[tuple[str, str], float]) -> dict[str, float]:
        """Return what a story's pods used since `pods` were so, by what they are.

        A story's other namespaces begin with its own one's name.
        """
        used: dict[str, float] = defaultdict(float)
        for (where, name), seconds in list(self.pods.items()):
            if where.startswith(namespace):
                used[kind(name)] += seconds - since.get((where, name), 0.0)
        return {name: round(seconds, 1) for name, seconds in sorted(used.items())}

    def programs(self) -> dict[str, float]:
        """Return what the cluster's own programs used since the beginning, those that are still there."""
        now = programs()
        used = {name: seconds - self._before.get(name, 0.0) for name, seconds in now.items()}
        return {name: round(seconds, 1) for name, seconds in sorted(used.items())}

    def look(self) -> None:
        """Read what each pod that there is has used."""
        for folder in layout.DATA.glob("node-*/log/pods/*"):
            if (match := _POD.fullmatch(folder.name)) is None:
                continue
            uid = match["uid"]
            group = self._groups.get(uid) or _find_group(uid)
            if group is None or (seconds := group_seconds(group)) is None:
                continue
            self._groups[uid] = group
            self.pods[match["namespace"], match["name"]] = seconds

    def _run(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            self.look()
        self.look()


def kind(pod: str) -> str:
    """Return what a pod is, by its name."""
    words = {"-livekit-": "servers", "redis": "redis"}
    return next((told for word, told in words.items() if word in pod), "agents")


def own_seconds() -> float:
    """Return the seconds of CPU of this process, and of those that it started and that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def programs() -> dict[str, float]:
    """Return the seconds of CPU of the cluster's own programs, and of all that is in its nodes' groups."""
    used: dict[str, float] = defaultdict(float)
    for node in ("", *(path.name for path in layout.DATA.glob("node-*"))):
        group = f"{cgroups.ROOT}/{node}/system" if node else cgroups.CONTROL_PLANE
        for pid in cgroups.members(group):
            if found := Stat.of(pid):
                used[found.name] += found.seconds
    mount = _accounting()
    for disk in layout.DATA.glob("node-*"):
        for part in ("system", "pods"):
            if mount and (seconds := group_seconds(mount / cgroups.ROOT / disk.name / part)):
                used[f"all of {part}"] += seconds
    return dict(used)


def _find_group(uid: str) -> Path | None:
    """Return the control group of a pod, which the kubelet names by its uid."""
    mount = _accounting()
    if mount is None:
        return None
    root = mount / cgroups.ROOT
    return next(
        (found for quality in _QUALITIES for found in root.glob(f"node-*/pods/kubepods{quality}/pod{uid}")), None
    )


def _accounting() -> Path | None:
    """Return where a hierarchy is mounted that counts CPU."""
    known = cgroups.hierarchies()
    first = next((h.mount for h in known if "cpuacct" in h.controllers), None)
    return first or next((h.mount for h in known if h.version == 2), None)


def group_seconds(group: Path) -> float | None:
    """Return the seconds of CPU that a control group of either version has used, None when it is gone."""
    if text := _text(group / "cpuacct.usage"):
        return int(text) / 1e9
    if text := _text(group / "cpu.stat"):
        return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e6
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
