"""`python -m tests.benchmarks.compare`: the last run of each benchmark beside the one before it, from `bench.jsonl`.

Runs with other options are other benchmarks. What depends on the machine is compared by how many times the bare
script's of the same run it is.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from tests.benchmarks import record
from tests.benchmarks.record import Circumstances, Run, Value

_LABEL = 34


def report(runs: Sequence[Run]) -> list[str]:
    """Return a section for each benchmark, in the order in which they were last run."""
    by_name: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        name = run.benchmark, _shown_options(run)
        # The one that ran last is last.
        by_name[name] = [*by_name.pop(name, []), run]
    lines: list[str] = []
    for (benchmark, options), known in by_name.items():
        lines += ["", f"{benchmark} {options}".rstrip(), *_section(known[-1], known[-2] if len(known) > 1 else None)]
    return lines[1:]


def _shown_options(run: Run) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(run.options.items()))


def _section(now: Run, before: Run | None) -> list[str]:
    lines = [
        f"  before  {_shown(before.circumstances) if before else 'no run'}",
        f"  now     {_shown(now.circumstances)}",
    ]
    if before and (elsewhere := _elsewhere(before.circumstances)) != _elsewhere(now.circumstances):
        lines.append(f"  the one before was on another machine: {elsewhere}")
    lines.append(f"  {'':<{_LABEL}} {'before':>10} {'now':>10} {'ratio':>7}")
    keys = dict.fromkeys([*now.figures, *(before.figures if before else ())])
    lines += [_row(key, before.figures.get(key) if before else None, now.figures.get(key)) for key in keys]
    return lines


def _shown(began: Circumstances) -> str:
    commit = "no checkout" if began.commit is None else began.commit[:7]
    changed = " with changes" if began.dirty else ""
    return f"{commit}{changed}, {began.at}, load {began.machine.load:.1f}"


def _elsewhere(began: Circumstances) -> str:
    machine = replace(began.machine, load=0.0)
    return f"{machine.cores} cores of {machine.cpu}, {machine.memory_mib} MiB, kernel {machine.kernel}"


def _row(key: str, before: Value | None, now: Value | None) -> str:
    known = [value for value in (before, now) if value]
    bare = all(value.ratio is not None for value in known)
    unit = "times bare" if bare else known[-1].unit
    numbers = [None if value is None else value.ratio if bare else value.value for value in (before, now)]
    first, last = numbers
    # Of a figure in another unit nothing can be said.
    same = len({value.unit for value in known}) == 1
    ratio = f"{last / first:7.2f}" if same and first and last is not None else f"{'-':>7}"
    shown = " ".join(f"{'-' if number is None else f'{number:.3f}':>10}" for number in numbers)
    return f"  {key:<{_LABEL}} {shown} {ratio}  {unit}".rstrip()


def main() -> int:
    """Compare and print."""
    runs, others = record.read(record.FILE)
    if others:
        print(f"not a run, as one that was killed while it wrote: {others} in {record.FILE}", file=sys.stderr)
    if not runs:
        print(f"no run in {record.FILE}: make bench, make bench-rooms", file=sys.stderr)
        return 1
    print("\n".join(report(runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
