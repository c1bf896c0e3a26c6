"""A process' line in /proc is read whatever its program is called."""

import os
from pathlib import Path

import pytest

from tests.cluster.stat import Stat

TICKS = os.sysconf("SC_CLK_TCK")


def line(name: str) -> str:
    """Return the line of a process that had 2 s of CPU, and whose ended children had 4 s."""
    times = " ".join(str(round(seconds * TICKS)) for seconds in (1.5, 0.5, 3, 1))
    return f"42 ({name}) S 1 42 42 0 -1 4194304 100 0 0 0 {times} 20 0 1 0 900 0 0"


@pytest.mark.parametrize("name", ["kubelet", "a b", "a (b) c", "odd) R 1 (name", "()"])
def test_the_name_of_a_program_does_not_disturb_reading_its_stat(name: str) -> None:
    assert Stat.parse(line(name)) == Stat(42, name, "S", 900, seconds=2.0, of_ended_children=4.0)


@pytest.mark.parametrize("text", ["", "nonsense", "42 (kubelet) S 1 42"])
def test_what_is_no_such_line_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        Stat.parse(text)


def test_a_process_is_found_by_its_pid(tmp_path: Path) -> None:
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "stat").write_text(line("kubelet"))
    assert Stat.of(42, tmp_path) == Stat.parse(line("kubelet"))
    assert Stat.of(43, tmp_path) is None
