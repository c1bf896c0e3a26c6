"""How far the stories are, for whoever watches: which run, for how long, what is left, and what they cost."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import layout
from tests.cluster.stat import Cores
from tests.harness.usage import Meter

# Seconds of each story in runs before, so that the time left can be told.
_KNOWN = layout.STATE / "stories.json"
# What each story cost when it last ran, and what the cluster's own programs took in the runs.
_COSTS = layout.STATE / "stories-costs.json"
_STAT = Path("/proc/stat")
_SLOWEST = 10
_PHASES = ("setup", "call", "teardown")
# What a story says of itself in its report: its namespace, and the CPU of its own process and what that started.
NAMESPACE, SECONDS = "namespace", "seconds"


@dataclass
class Progress:
    """A pytest plugin for the process that reports: the controller of pytest-xdist, or the only one there is."""

    tell: Callable[[str], None]
    clock: float = field(default_factory=time.monotonic)
    total: int = 0
    at_once: int = 1
    cores: tuple[int, int] = field(default_factory=lambda: cpu_times(_STAT.read_text()))
    known: dict[str, float] = field(default_factory=lambda: known_seconds())
    meter: Meter | None = None
    """Counts the CPU of pods, where the cluster is on this machine."""
    waiting: set[str] = field(default_factory=set)
    running: dict[str, float] = field(default_factory=dict)
    ended: dict[str, dict[str, float]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    idle: dict[str, float] = field(default_factory=dict)
    """Story -> the share of all cores that was idle while it ran, whatever else ran then."""
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    """Story -> seconds of CPU of its pods, by what they are, and of its own process with what that started."""
    _cores: dict[str, tuple[int, int]] = field(default_factory=dict)
    _pods: dict[str, dict[tuple[str, str], float]] = field(default_factory=dict)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn which stories there are, where one process runs them."""
        if session.items:
            self.expect(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Learn which stories there are, and how many run at once."""
        self.at_once = self.at_once + 1 if self.waiting else 1
        self.expect(ids)

    def expect(self, ids: Iterable[str]) -> None:
        """Note what is to run."""
        self.waiting = {plain(nodeid) for nodeid in ids}
        self.total = len(self.waiting)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell that a story starts."""
        story = plain(nodeid)
        self.waiting.discard(story)
        self.running[story] = time.monotonic()
        self._cores[story] = cpu_times(_STAT.read_text())
        self._pods[story] = dict(self.meter.pods) if self.meter else {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how long a phase took, and whether it failed."""
        story = plain(report.nodeid)
        self.ended.setdefault(story, dict.fromkeys(_PHASES, 0.0))[report.when] = report.duration
        if report.failed:
            self.failed.add(story)
        told = dict(report.user_properties)
        if report.when == "teardown" and self.meter and isinstance(namespace := told.get(NAMESPACE), str):
            self.costs[story] = self.meter.of(namespace, since=self._pods.pop(story)) | {
                "story": float(str(told[SECONDS]))
            }

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Tell that a story has ended, and what goes on."""
        story = plain(nodeid)
        self.running.pop(story, None)
        taken = sum(self.ended.get(story, {}).values())
        self.known[story] = round(taken, 1)
        self.idle[story] = idle_share(self._cores.pop(story), cpu_times(_STAT.read_text()))
        now = time.monotonic()
        others = ", ".join(f"{short(name)} ({now - began:.0f} s)" for name, began in sorted(self.running.items()))
        word = "FAILED" if story in self.failed else "passed"
        left = seconds_left(self.waiting, self.known, self.at_once)
        self.tell(
            f"\n[{len(self.ended)}/{self.total}] {short(story)} {word} in {taken:.0f} s"
            f"; running: {others or 'none'}; about {left / 60:.0f} min left"
        )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show where the time went, and keep it for the next run."""
        if not self.ended:
            return
        _KNOWN.parent.mkdir(parents=True, exist_ok=True)
        _KNOWN.write_text(json.dumps(dict(sorted(self.known.items())), indent=1) + "\n")
        share = idle_share(self.cores, cpu_times(_STAT.read_text()))
        parts = {phase: sum(taken[phase] for taken in self.ended.values()) for phase in _PHASES}
        terminalreporter.section("stories")
        terminalreporter.write_line(
            f"{len(self.ended)} stories in {time.monotonic() - self.clock:.0f} s, {self.at_once} at once; "
            f"the cores were idle for {share:.0%} of it; "
            + ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in parts.items())
        )
        for story, taken in sorted(self.ended.items(), key=lambda item: -sum(item[1].values()))[:_SLOWEST]:
            shown = ", ".join(f"{phase} {taken[phase]:.0f} s" for phase in _PHASES)
            cost = "".join(f", {name} {seconds:.1f} s" for name, seconds in self.costs.get(story, {}).items())
            terminalreporter.write_line(
                f"{sum(taken.values()):6.1f} s  {short(story)} ({shown}{cost and '; CPU'}{cost})"
            )
        if self.meter:
            self._keep_costs(self.meter, share)
        for story in sorted(self.failed):
            terminalreporter.write_line(f"again, alone: .venv/bin/python -m pytest '{story}'")

    def _keep_costs(self, meter: Meter, share: float) -> None:
        """Keep what was measured for whoever makes the stories faster."""
        meter.stop()
        kept = _read(_COSTS)
        name = f"{self.total} stories, {self.at_once} at once"
        run = {"seconds": round(time.monotonic() - self.clock), "idle": share, "cluster": meter.programs()}
        stories = {
            story: {**taken, "idle": self.idle[story], "atOnce": self.at_once, "cpu": self.costs.get(story, {})}
            for story, taken in self.ended.items()
        }
        kept = {"runs": kept.get("runs", {}) | {name: run}, "stories": kept.get("stories", {}) | stories}
        _COSTS.write_text(json.dumps(kept, indent=1) + "\n")


def known_seconds() -> dict[str, float]:
    """Return how many seconds each story took when it last ran here."""
    return _read(_KNOWN)


def plain(nodeid: str) -> str:
    """Return a test's id without the group that pytest-xdist appends."""
    return nodeid.partition("@")[0]


def short(story: str) -> str:
    """Return a story's file and name for a person."""
    return story.removeprefix("tests/e2e/").replace(".py::test_", ": ").removeprefix("test_")


def cpu_times(stat: str) -> tuple[int, int]:
    """Return (busy, idle) of all cores since the machine started, in ticks, from the text of /proc/stat."""
    cores = Cores.parse(stat)
    return cores.busy, cores.idle


def idle_share(then: tuple[int, int], now: tuple[int, int]) -> float:
    """Return the share of the cores' time that was idle between two of `cpu_times`."""
    busy, idle = (after - before for after, before in zip(now, then, strict=True))
    return round(idle / max(1, busy + idle), 3)


def seconds_left(waiting: Iterable[str], known: Mapping[str, float], at_once: int) -> float:
    """Return about how long the stories that wait will take; one never seen counts as the average."""
    average = sum(known.values()) / len(known) if known else 0.0
    return sum(known.get(story, average) for story in waiting) / max(1, at_once)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found
