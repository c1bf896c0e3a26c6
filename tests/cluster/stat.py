"""What /proc/PID/stat tells of a process (who it is, whether it lives, its CPU), and /proc/stat of all cores."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
# "user nice system idle iowait irq softirq steal", proc(5); waiting for a disk is idle as well.
_IDLE, _STEAL = slice(3, 5), 7


@dataclass(frozen=True)
class Cores:
    """What all cores have done since the machine started, in ticks."""

    busy: int
    idle: int
    stolen: int
    """Of the busy ones, those that a hypervisor gave to other machines."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of /proc/stat."""
        ticks = [int(word) for word in text.splitlines()[0].split()[1:9]]
        idle = sum(ticks[_IDLE])
        return cls(sum(ticks) - idle, idle, ticks[_STEAL])


@dataclass(frozen=True)
class Stat:
    """One process at one moment."""

    pid: int
    name: str
    state: str
    start_time: int
    """In ticks since the machine started: with the pid it tells a process from all others."""
    seconds: float = 0.0
    """Of CPU, as user and as system."""
    of_ended_children: float = 0.0
    """Seconds of CPU of its children that have ended and that it has waited for."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the line of /proc/PID/stat, whose second field may itself hold blanks and brackets.

        Raises ValueError or IndexError for a text that is no such line.
        """
        pid, rest = text.split(" (", 1)
        name, rest = rest.rsplit(") ", 1)
        fields = rest.split()
        user, system, childrens_user, childrens_system = (int(field) / _TICKS for field in fields[11:15])
        return cls(int(pid), name, fields[0], int(fields[19]), user + system, childrens_user + childrens_system)

    @classmethod
    def of(cls, pid: int, proc: Path = Path("/proc")) -> Self | None:
        """Return what is told about a process now, None when there is none with this pid."""
        try:
            return cls.parse((proc / str(pid) / "stat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            return None

    @property
    def ended(self) -> bool:
        """Whether it only waits for its parent to notice."""
        return self.state in ("Z", "X")
