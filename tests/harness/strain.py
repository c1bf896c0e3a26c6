"""How busy this machine was while a story ran: whether CPU was short, and who took it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.cluster.stat import Stat

_SHOWN = 6
_PROC = Path("/proc")
_STEAL = 7  # "cpu user nice system idle iowait irq softirq steal", proc(5)


@dataclass(frozen=True)
class Strain:
    """The machine's counters at one moment."""

    ticks: tuple[int, ...]
    """Of all cores, by what they did, in the order of /proc/stat."""
    waited: int
    """Microseconds in which some program waited for a core; 0 where the kernel does not count them."""
    programs: Mapping[tuple[int, int], Stat]
    """By pid and start."""

    @classmethod
    def now(cls, proc: Path = _PROC) -> Self:
        """Read the counters."""
        first = (proc / "stat").read_text().splitlines()[0]
        found = (Stat.of(int(path.name), proc) for path in proc.glob("[0-9]*"))
        return cls(
            tuple(int(word) for word in first.split()[1:9]),
            _waited(proc / "pressure" / "cpu"),
            {(stat.pid, stat.start_time): stat for stat in found if stat},
        )

    def since(self, before: "Strain") -> str:
        """Tell in one line what happened between another moment and this one."""
        ticks = [now - then for now, then in zip(self.ticks, before.ticks, strict=True)]
        total = max(1, sum(ticks))
        idle, stolen = (ticks[3] + ticks[4]) / total, ticks[_STEAL] / total
        used: dict[str, float] = defaultdict(float)
        for key, stat in self.programs.items():
            then = before.programs.get(key)
            used[stat.name] += stat.seconds - (then.seconds if then else 0.0)
        most = sorted(used.items(), key=lambda item: -item[1])[:_SHOWN]
        told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in most)
        return (
            f"the cores were idle for {idle:.0%} of it, {stolen:.0%} was taken by other machines, programs waited "
            f"for a core in {(self.waited - before.waited) / 1e6:.1f} s of it; most CPU of those that still run: {told}"
        )


def _waited(path: Path) -> int:
    try:
        some = path.read_text().splitlines()[0]
    except OSError:
        return 0
    return int(some.rpartition("total=")[2])
