"""What holds the time: which programs had the CPUs, and how long the API server took for each kind of request."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.stat import Cores, Stat

_TICKS = os.sysconf("SC_CLK_TCK")
# Programs that are told apart; the kernel cuts names to 15 characters.
_PROGRAMS = {
    "kube-apiserver": "kube-apiserver",
    "etcd": "etcd",
    "livekit-server": "livekit-server",
    "kube-controller": "kube-controller-manager",
}
_MEASURED = "operator, or bare script"
_ITSELF = "benchmark: applies rooms and watches them"
_OTHERS = "everything else"

# Verb and resource, as "POST secrets" -> seconds and number of its requests.
Requests = Mapping[str, tuple[float, int]]


@dataclass(frozen=True)
class Moment:
    """All CPU time and all requests so far: seconds (monotonic), CPU seconds by program, requests by kind."""

    at: float
    programs: Mapping[str, float]
    requests: Requests


@dataclass(frozen=True)
class Phase:
    """What was done between two moments, and by whom."""

    name: str
    began: Moment
    ended: Moment

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return self.ended.at - self.began.at

    def cores(self, program: str) -> float:
        """Return how many cores a program had, on average."""
        return (self.ended.programs.get(program, 0.0) - self.began.programs.get(program, 0.0)) / self.seconds

    def milliseconds(self, kind: str) -> float | None:
        """Return how long the API server took for a request of a kind, on average; None where there was none."""
        seconds, number = self.ended.requests.get(kind, (0.0, 0))
        before, fewer = self.began.requests.get(kind, (0.0, 0))
        return 1000 * (seconds - before) / (number - fewer) if number > fewer else None


def programs(proc: Path = Path("/proc")) -> dict[str, float]:
    """Return the CPU seconds so far of each program; others that ended are "everything else"."""
    found: dict[str, float] = defaultdict(float)
    for path in proc.glob("[0-9]*/stat"):
        if (stat := Stat.of(int(path.parent.name), proc)) is None:
            continue  # it has just ended
        if stat.pid == os.getpid():
            # The bare script is a child of ours, and ends by itself.
            found[_ITSELF] += stat.seconds
            found[_MEASURED] += stat.of_ended_children
        elif stat.name.startswith("python"):
            found[_MEASURED] += stat.seconds
        elif stat.name in _PROGRAMS:
            found[_PROGRAMS[stat.name]] += stat.seconds
    found[_OTHERS] = Cores.parse((proc / "stat").read_text()).busy / _TICKS - sum(found.values())
    return dict(found)


def table(phases: Sequence[Phase]) -> list[str]:
    """Return lines that compare phases, a column each."""
    if not phases:
        return []

    def line(label: str, values: Sequence[str]) -> str:
        return f"{label:<52}" + "".join(f"{value:>26}" for value in values)

    lines = [line("", [phase.name for phase in phases]), line("seconds", [f"{phase.seconds:.1f}" for phase in phases])]
    every = [_MEASURED, *_PROGRAMS.values(), _ITSELF, _OTHERS]
    lines += [line(f"cores of {program}", [f"{phase.cores(program):.2f}" for phase in phases]) for program in every]
    lines.append(line("cores of all", [f"{sum(map(phase.cores, every)):.2f}" for phase in phases]))
    kinds = sorted({kind for phase in phases for kind in phase.ended.requests})
    for kind in kinds:
        taken = [phase.milliseconds(kind) for phase in phases]
        if any(value is not None for value in taken):
            words = ["" if value is None else f"{value:.1f}" for value in taken]
            lines.append(line(f"ms of the API server for {kind}", words))
    return lines
