"""How busy this machine was while a story ran: whether CPU was short, and who took it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.cluster.stat import Cores, Stat

_SHOWN = 6
_PROC = Path("/proc")


@dataclass(frozen=True)
class Strain:
    """The machine's counters at one moment."""

    cores: Cores
    waited: int
    """Microseconds in which some program waited for a core; 0 where the kernel does not count them."""
    programs: Mapping[tuple[int, int], Stat]
    """By pid and start."""

    @classmethod
    def now(cls, proc: Path = _PROC) -> Self:
        """Read the counters."""
        found = (Stat.of(int(path.name), proc) for path in proc.glob("[0-9]*"))
        return cls(
            Cores.parse((proc / "stat").read_text()),
            _waited(proc / "pressure" / "cpu"),
            {(stat.pid, stat.start_time): stat for stat in found if stat},
        )

    def since(self, before: "Strain") -> str:
        """Tell in one line what happened between another moment and this one."""
        busy, idle = self.cores.busy - before.cores.busy, self.cores.idle - before.cores.idle
        total = max(1, busy + idle)
        stolen = (self.cores.stolen - before.cores.stolen) / total
        used: dict[str, float] = defaultdict(float)
        for key, stat in self.programs.items():
            then = before.programs.get(key)
            used[stat.name] += stat.seconds - (then.seconds if then else 0.0)
        most = sorted(used.items(), key=lambda item: -item[1])[:_SHOWN]
        told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in most)
        return (
            f"the cores were idle for {idle / total:.0%} of it, {stolen:.0%} was taken by other machines, programs "
            f"waited for a core in {(self.waited - before.waited) / 1e6:.1f} s of it; "
            f"most CPU of those that still run: {told}"
        )


def _waited(path: Path) -> int:
    try:
        some = path.read_text().splitlines()[0]
    except OSError:
        return 0
    return int(some.rpartition("total=")[2])
