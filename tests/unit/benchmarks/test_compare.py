"""The last run of a benchmark stands beside the one before it: same benchmark, same options, ratios where it may."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import compare, record
from tests.benchmarks.compare import report
from tests.benchmarks.record import Circumstances, Machine, Run, Value

MACHINE = Machine(2, "EPYC", 24000, "6.1", 0.5)


def run(commit: str | None, figures: dict[str, Value], at: str = "2026", **options: int) -> Run:
    return Run("rooms", options, Circumstances(at, commit, None if commit is None else False, MACHINE), figures)


def rows(lines: list[str]) -> dict[str, str]:
    """Return the words of each line that is a figure, by its key."""
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line.startswith("  ")}


def test_both_commits_are_named_and_each_figure_has_its_ratio() -> None:
    before = run("a" * 40, {"cpu": Value(2.0, "s"), "writes": Value(3.0, "")}, at="2026-01-01")
    now = run("b" * 40, {"cpu": Value(3.0, "s"), "writes": Value(3.0, "")}, at="2026-01-02")
    now = replace(now, circumstances=replace(now.circumstances, dirty=True))
    lines = report([before, now])
    assert lines[0] == "rooms"
    assert rows(lines) == {
        "before": "now ratio",  # the head of the columns, after the line that names the run
        "now": "bbbbbbb with changes, 2026-01-02, load 0.5",
        "cpu": "2.000 3.000 1.50 s",
        "writes": "3.000 3.000 1.00",
    }
    assert "  before  aaaaaaa, 2026-01-01, load 0.5" in lines


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (Value(40, "ms", 20), Value(30, "ms", 10), "2.000 3.000 1.50 times bare"),
        (Value(40, "ms", 20), Value(30, "ms"), "40.000 30.000 0.75 ms"),
        (Value(40, "ms"), Value(30, "s"), "40.000 30.000 - s"),
        (Value(0, ""), Value(1, ""), "0.000 1.000 -"),
        (Value(2, "s"), Value(0, "s"), "2.000 0.000 0.00 s"),
        (None, Value(30, "ms", 10), "- 3.000 - times bare"),
        (Value(30, "ms", 10), None, "3.000 - - times bare"),
    ],
)
def test_a_figure_is_compared_as_far_as_it_can_be(before: Value | None, now: Value | None, words: str) -> None:
    lines = report([run("a", {"one": before} if before else {}), run("b", {"one": now} if now else {})])
    assert rows(lines)["one"] == words


def test_only_the_last_two_runs_with_the_same_options_are_compared() -> None:
    values = [{"cpu": Value(value, "s")} for value in (1.0, 2.0, 4.0, 8.0)]
    lines = report(
        [run("a", values[0], n=1), run("b", values[1], n=1), run("c", values[3], n=2), run("d", values[2], n=1)]
    )
    # The benchmark that ran last is last.
    assert [line for line in lines if line.startswith("rooms")] == ["rooms n=2", "rooms n=1"]
    first, second = lines[: lines.index("")], lines[lines.index("") + 1 :]
    assert rows(first)["cpu"] == "- 8.000 - s"
    assert "  before  no run" in first
    assert rows(second)["cpu"] == "2.000 4.000 2.00 s"


def test_another_machine_is_named() -> None:
    before = run("a", {})
    elsewhere = replace(before, circumstances=replace(before.circumstances, machine=replace(MACHINE, cores=64)))
    busier = replace(before, circumstances=replace(before.circumstances, machine=replace(MACHINE, load=9.0)))
    assert "  the one before was on another machine: 64 cores of EPYC, 24000 MiB, kernel 6.1" in report(
        [elsewhere, before]
    )
    assert not any("machine" in line for line in report([busier, before]))


def test_a_run_outside_a_checkout_says_so() -> None:
    assert "  now     no checkout, 2026, load 0.5" in report([run(None, {})])


def test_the_command_prints_what_the_file_has_and_says_what_is_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "FILE", tmp_path / "bench.jsonl")
    assert compare.main() == 1
    assert "no run in" in capsys.readouterr().err
    record.write(record.FILE, run("a" * 40, {"cpu": Value(2.0, "s")}))
    record.FILE.write_bytes(record.FILE.read_bytes() + b'{"benchmark"')
    assert compare.main() == 0
    out, err = capsys.readouterr()
    assert "aaaaaaa" in out
    assert "not a run" in err
