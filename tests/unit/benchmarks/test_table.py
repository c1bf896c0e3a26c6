"""The benchmarks' table: what it says of a figure, and that it says nothing of one that was not measured."""

import pytest

from tests.benchmarks.table import Figure, NotMeasuredError, per, ratio, summary, table


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (Figure("a", "greeting", [700.4, 600, 900]), "greeting 700 600 900 ms n=3"),
        (Figure("a", "greeting", [700.4, 600, 900], target=700), "greeting 700 600 900 ms n=3, target 700 MISSED"),
        (Figure("a", "greeting", [700, 600, 900], target=700), "greeting 700 600 900 ms n=3, target 700 met"),
        (Figure("a", "memory", [302.4], "MiB"), "memory 302 MiB"),
        (Figure("a", "used", [0.1234, 0.2], "cores"), "used 0.162 0.123 0.200 cores n=2"),
        (
            Figure("a", "burst", [float(n) for n in range(101)], target=50, judged_by_p95=True),
            "burst 50 0 100 ms n=101, p95 95, target 50 MISSED",
        ),
    ],
)
def test_a_row_says_median_extremes_number_and_target(figure: Figure, words: str) -> None:
    assert " ".join(figure.row().split()) == words


@pytest.mark.parametrize("figure", [Figure("a", "greeting", []), Figure("a", "greeting", [1.0], judged_by_p95=True)])
def test_a_figure_without_enough_values_is_no_row(figure: Figure) -> None:
    with pytest.raises(NotMeasuredError, match="greeting"):
        table([[figure]])


def test_two_figures_are_compared_by_their_medians() -> None:
    cold, warm = Figure("cold", "cold", [9000, 6000, 7000]), Figure("warm", "warm", [700, 500])
    assert ratio("ratio", "cold against warm", cold, warm).row().split()[-2:] == ["11.7", "times"]
    assert per("each", "each of 5", cold, warm, 5).values == [1280]


def test_nothing_is_compared_with_what_was_not_measured() -> None:
    with pytest.raises(NotMeasuredError, match="warm"):
        ratio("ratio", "cold against warm", Figure("cold", "cold", [1]), Figure("warm", "warm", []))


def test_rows_of_a_table_stand_below_each_other() -> None:
    figures = [Figure("a", "a", [1, 2], target=5), Figure("b", "b", [1.0, 2.0], "cores"), Figure("c", "c", [1], "MiB")]
    header, _, *rows = table([figures]).splitlines()
    assert {row.split()[1] == row[: header.index("median") + 6].split()[-1] for row in rows} == {True}


def test_the_summary_has_every_figure_by_its_key() -> None:
    burst = Figure("burst", "burst", [1.0, 3.0], judged_by_p95=True)
    assert summary([[burst], [Figure("idle", "idle", [2.0], "MiB")]]) == {
        "burst": {"median": 2.0, "min": 1.0, "max": 3.0, "p95": 2.9, "n": 2, "unit": "ms"},
        "idle": {"median": 2.0, "min": 2.0, "max": 2.0, "n": 1, "unit": "MiB"},
    }
