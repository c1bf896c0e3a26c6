"""Runs of benchmarks are kept as lines of a file: whole ones are read, whatever was killed or written since."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.benchmarks import record
from tests.benchmarks.record import Circumstances, Machine, Run, Value, circumstances, read, write, write_figures
from tests.benchmarks.rooms.figures import recorded
from tests.benchmarks.table import Figure

BEGAN = Circumstances("2026-01-02T03:04:05+00:00", "a" * 40, False, Machine(2, "EPYC", 24000, "6.1", 0.5))
RUN = Run("rooms", {"rooms": 2000}, BEGAN, {"wall": Value(26.3, "s", bare=24.0), "writes": Value(3.0, "")})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bench.jsonl"
    write(path, RUN)
    write(path, RUN)
    assert read(path) == ([RUN, RUN], 0)


def test_a_line_has_units_options_commit_time_and_machine(tmp_path: Path) -> None:
    write(tmp_path / "file", RUN, {"wall": {"n": 3}})
    assert json.loads((tmp_path / "file").read_text()) == {
        "benchmark": "rooms",
        "options": {"rooms": 2000},
        "circumstances": {
            "at": "2026-01-02T03:04:05+00:00",
            "commit": "a" * 40,
            "dirty": False,
            "machine": {"cores": 2, "cpu": "EPYC", "memory_mib": 24000, "kernel": "6.1", "load": 0.5},
        },
        "figures": {
            "wall": {"value": 26.3, "unit": "s", "bare": 24.0, "n": 3},
            "writes": {"value": 3.0, "unit": "", "bare": None},
        },
    }


def test_nothing_is_read_where_no_file_is(tmp_path: Path) -> None:
    assert read(tmp_path / "file") == ([], 0)


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_torn_last_line_costs_neither_what_was_before_nor_what_comes(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "file"
    write(path, RUN)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-1][:kept])
    assert read(path) == ([RUN], 1)
    write(path, RUN)
    assert read(path) == ([RUN, RUN], 1)


def test_a_last_line_that_lacks_only_its_end_is_a_run(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, RUN)
    path.write_bytes(path.read_bytes()[:-1])
    write(path, RUN)
    assert read(path) == ([RUN, RUN], 0)


@pytest.mark.parametrize("line", ["[]", "7", "null", "{}", '{"benchmark": "x"}', "\x00"])
def test_a_line_that_is_no_run_is_passed_over(tmp_path: Path, line: str) -> None:
    path = tmp_path / "file"
    path.write_text(f"{line}\n\n")
    write(path, RUN)
    assert read(path) == ([RUN], 1)


def test_fields_that_are_not_known_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, RUN, {"wall": {"max": 30.0, "invented": 1.0}})
    line = json.loads(path.read_text())
    line["invented"] = line["circumstances"]["invented"] = line["circumstances"]["machine"]["invented"] = 1
    path.write_text(json.dumps(line))
    assert read(path) == ([RUN], 0)


def test_figures_of_a_table_are_kept_with_their_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "FILE", tmp_path / "file")
    write_figures("calls", {"calls": 3}, BEGAN, [Figure("joined", "joined", [700.0, 500.0, 900.0])])
    (line,) = (tmp_path / "file").read_text().splitlines()
    value = {"value": 700.0, "unit": "ms", "bare": None, "min": 500.0, "max": 900.0, "n": 3}
    assert json.loads(line)["figures"] == {"joined": value}
    assert read(tmp_path / "file") == ([Run("calls", {"calls": 3}, BEGAN, {"joined": Value(700.0, "ms")})], 0)


def _git(folder: Path, *words: str) -> str:
    ours = ("-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *ours, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_circumstances_are_those_of_the_checkout_and_the_machine(tmp_path: Path) -> None:
    proc, folder = tmp_path / "proc", tmp_path / "checkout"
    proc.mkdir()
    folder.mkdir()
    (proc / "cpuinfo").write_text("processor\t: 0\nmodel name\t: AMD EPYC: the one\nmodel name\t: AMD EPYC: the one\n")
    (proc / "meminfo").write_text("MemFree: 1 kB\nMemTotal:   24684084 kB\n")
    (proc / "loadavg").write_text("1.25 2.00 3.00 1/234 5678\n")
    outside = circumstances(folder, proc)
    assert (outside.commit, outside.dirty) == (None, None)
    assert (outside.machine.cpu, outside.machine.memory_mib, outside.machine.load) == ("AMD EPYC: the one", 24105, 1.25)
    _git(folder, "init")
    _git(folder, "commit", "--allow-empty", "-m", "first")
    clean = circumstances(folder, proc)
    assert (clean.commit, clean.dirty) == (_git(folder, "rev-parse", "HEAD"), False)
    (folder / "file").touch()
    assert circumstances(folder, proc).dirty is True


def test_the_record_of_rooms_has_the_bare_script_beside_what_it_measures() -> None:
    measured = {
        "floor_wall_seconds": 20.0,
        "floor_wall_spread": 1.1,
        "operator_wall_seconds": 30.0,
        "operator_few_wall_seconds": 10.0,
        "wall_ratio": 1.5,
        "wall_scaling": 3.0,
        "latency_p95_ms": 40.00004,
        "floor_latency_p95_ms": 20.0,
        "latency_p95_ratio": 2.0,
        "delete_seconds": 7.0,
        "restart_writes": 0.0,
    }
    assert recorded(measured) == {
        "floor_wall_spread": Value(1.1, "times"),
        "operator_wall_seconds": Value(30.0, "s", bare=20.0),
        "wall_scaling": Value(3.0, "times"),
        "latency_p95_ms": Value(40.0, "ms", bare=20.0),
        "delete_seconds": Value(7.0, "s"),
        "restart_writes": Value(0.0, ""),
    }
