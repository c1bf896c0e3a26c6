"""Runs of benchmarks as a file, a line of JSON each: what was measured, of which commit, when, and on which machine.

The file is `.cluster/bench.jsonl`; `python -m tests.benchmarks.compare` reads it.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from tests.benchmarks.table import Figure
from tests.cluster import layout

FILE = layout.STATE / "bench.jsonl"

Option = str | int | float | bool
T = TypeVar("T")


@dataclass(frozen=True)
class Value:
    """One figure. What depends on the machine has, as `bare`, what a bare script took for the same in the same run."""

    value: float
    unit: str
    bare: float | None = None

    @property
    def ratio(self) -> float | None:
        """Return how many times the bare script's it is, None where no bare script was measured."""
        return self.value / self.bare if self.bare else None


@dataclass(frozen=True)
class Machine:
    """Where it was measured; `load` is the load average of the minute before the run."""

    cores: int
    cpu: str
    memory_mib: int
    kernel: str
    load: float


@dataclass(frozen=True)
class Circumstances:
    """When, where and of what code a run began. `commit` and `dirty` are None outside a git checkout."""

    at: str
    commit: str | None
    dirty: bool | None
    machine: Machine


@dataclass(frozen=True)
class Run:
    """One run of one benchmark; only runs with the same options can be compared."""

    benchmark: str
    options: Mapping[str, Option]
    circumstances: Circumstances
    figures: Mapping[str, Value]


def circumstances(repository: Path = layout.REPOSITORY, proc: Path = Path("/proc")) -> Circumstances:
    """Return the circumstances now; to be called before anything is measured."""
    commit = _git(repository, "rev-parse", "HEAD")
    changes = _git(repository, "status", "--porcelain")
    processors = (proc / "cpuinfo").read_text()
    memory = next(line for line in (proc / "meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    machine = Machine(
        cores=os.cpu_count() or 1,
        # Only some architectures have a name for it.
        cpu=_after_colon(processors, "model name") or platform.machine(),
        memory_mib=int(memory.split()[1]) // 1024,
        kernel=platform.release(),
        load=float((proc / "loadavg").read_text().split()[0]),
    )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Circumstances(now, commit, None if changes is None else bool(changes), machine)


def _git(repository: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=repository, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _after_colon(text: str, name: str) -> str:
    found = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for label, _, value in found if label.strip() == name), "")


def write(path: Path, run: Run, spreads: Mapping[str, Mapping[str, float]] | None = None) -> None:
    """Append a run; `spreads` has more of some figures, for whoever reads the file."""
    line = asdict(run)
    for key, more in (spreads or {}).items():
        line["figures"][key] |= more
    path.parent.mkdir(parents=True, exist_ok=True)
    known = path.read_bytes() if path.exists() else b""
    # A run that was killed while it wrote must not take this one with it.
    gap = b"\n" if known and not known.endswith(b"\n") else b""
    with path.open("ab") as file:
        file.write(gap + json.dumps(line).encode() + b"\n")


def write_figures(benchmark: str, options: Mapping[str, Option], began: Circumstances, found: Sequence[Figure]) -> None:
    """Append the figures of a table, by their medians, with their spread."""
    values = {figure.key: Value(figure.summary()["median"], figure.unit) for figure in found}
    spreads = {
        figure.key: {name: number for name, number in figure.summary().items() if name not in ("median", "unit")}
        for figure in found
    }
    write(FILE, Run(benchmark, options, began, values), spreads)


def read(path: Path) -> tuple[list[Run], int]:
    """Return all runs, oldest first, and how many lines are none: the last one of a run that was killed."""
    runs, others = [], 0
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return [], 0
    for line in lines:
        try:
            runs.append(_run(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError):
            others += bool(line.strip())
    return runs, others


def _run(line: dict[str, Any]) -> Run:
    began = line["circumstances"]
    return Run(
        line["benchmark"],
        dict(line["options"]),
        _made(Circumstances, {**began, "machine": _made(Machine, began["machine"])}),
        {key: _made(Value, value) for key, value in line["figures"].items()},
    )


def _made(model: type[T], values: Mapping[str, Any]) -> T:
    """Return a dataclass of what it knows of the values: a later version of this file may have written more."""
    known = {field.name for field in fields(model)}  # type: ignore[arg-type]
    return model(**{name: value for name, value in values.items() if name in known})
