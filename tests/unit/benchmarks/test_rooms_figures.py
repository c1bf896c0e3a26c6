"""The table of rooms says what was measured, beside what it should be, and nothing else."""

import pytest

from tests.benchmarks.rooms.figures import table


@pytest.mark.parametrize(("value", "verdict"), [(1.25, "met"), (1.26, "MISSED")])
def test_a_figure_is_shown_with_its_target(value: float, verdict: str) -> None:
    (line,) = table({"wall_ratio": value})
    assert line.split()[-5:] == [f"{value:.2f}", "times", "target", "1.25", verdict]


def test_what_was_not_measured_is_not_shown() -> None:
    assert table({}) == []
    assert len(table({"restart_writes": 0.0, "unknown": 1.0})) == 1
