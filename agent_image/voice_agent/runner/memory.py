"""Whether the kernel has killed processes of this container for lack of memory, and how much it may have.

A kernel may kill the one process that asked for too much and leave the rest of the container alone: then the kubelet
says nothing of it, and an exit by SIGKILL has many causes. The container's own control group counts such kills
(https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files; in the first version the same count is in
memory.oom_control).
"""

from __future__ import annotations

from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup")
# Of the second version, and of the first one: the file that counts, and the one of the limit in bytes.
_FILES = (("memory.events", "memory.max"), ("memory/memory.oom_control", "memory/memory.limit_in_bytes"))
# The first version's word for no limit is a number that no machine has.
_NO_LIMIT = 1 << 60


class Memory:
    """Tells a process that the kernel killed for lack of memory from one that somebody else killed."""

    def __init__(self, folder: Path = CONTROL_GROUP) -> None:
        self._folder = folder
        self._known = self._kills()

    def was_short(self) -> bool:
        """Whether a process that has just ended by SIGKILL was killed for lack of memory; each kill counts once."""
        if self._kills() <= self._known:
            return False
        self._known += 1
        return True

    def limit(self) -> str | None:
        """The container's limit, as Kubernetes writes it; None where there is none, or it cannot be read."""
        for _, file in _FILES:
            try:
                number = int((self._folder / file).read_text(encoding="ascii"))
            except (OSError, ValueError):
                continue
            return _shown(number) if number < _NO_LIMIT else None
        return None

    def _kills(self) -> int:
        for file, _ in _FILES:
            try:
                lines = (self._folder / file).read_text(encoding="ascii").splitlines()
                return next(int(line.split()[1]) for line in lines if line.split()[:1] == ["oom_kill"])
            except (OSError, ValueError, IndexError, StopIteration):
                continue
        return 0


def _shown(number: int) -> str:
    for unit, letters in ((1 << 30, "Gi"), (1 << 20, "Mi")):
        if number % unit == 0:
            return f"{number // unit}{letters}"
    return f"{round(number / (1 << 20))}Mi"
