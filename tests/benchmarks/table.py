"""One table and one line of JSON for all figures; one that was not measured is an error and is never printed."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_DECIMALS = {"ms": 0, "ms CPU": 2, "s": 1, "MiB": 0, "cores": 3, "per s": 0, "times": 1}
_LABEL = 70


class NotMeasuredError(RuntimeError):
    """A figure has no values; the message is its label."""


@dataclass(frozen=True)
class Figure:
    """Values of one thing in one unit, and the most that their median, or their 95th percentile, should be."""

    key: str
    label: str
    values: Sequence[float]
    unit: str = "ms"
    target: float | None = None
    judged_by_p95: bool = False

    @property
    def median(self) -> float:
        """Return the median; raises NotMeasuredError without a value."""
        if not self.values:
            raise NotMeasuredError(f"not measured: {self.label}")
        return statistics.median(self.values)

    @property
    def p95(self) -> float:
        """Return the 95th percentile, between values in proportion; raises NotMeasuredError without two values."""
        if len(self.values) < 2:
            raise NotMeasuredError(f"not measured often enough for a percentile: {self.label}")
        return statistics.quantiles(self.values, n=20, method="inclusive")[-1]

    def row(self) -> str:
        """Return the figure as a line of the table."""
        median = self._shown(self.median)
        if len(self.values) == 1:
            line = f"{self.label:<{_LABEL}} {median} {'':>8} {'':>8} {self.unit}"
        else:
            least, most = self._shown(min(self.values)), self._shown(max(self.values))
            line = f"{self.label:<{_LABEL}} {median} {least} {most} {self.unit:<5} n={len(self.values)}"
        if self.judged_by_p95:
            line += f", p95 {self._shown(self.p95).strip()}"
        if self.target is not None:
            met = (self.p95 if self.judged_by_p95 else self.median) <= self.target
            line += f", target {self._shown(self.target).strip()} {'met' if met else 'MISSED'}"
        return line

    def summary(self) -> dict[str, Any]:
        """Return the figure as it stands in the line of JSON."""
        numbers = {"median": self.median, "min": min(self.values), "max": max(self.values)}
        if self.judged_by_p95:
            numbers["p95"] = self.p95
        return {**{name: round(value, 4) for name, value in numbers.items()}, "n": len(self.values), "unit": self.unit}

    def _shown(self, value: float) -> str:
        return f"{value:8.{_DECIMALS[self.unit]}f}"


def ratio(key: str, label: str, one: Figure, other: Figure) -> Figure:
    """Return how many times another figure's median a figure's is."""
    return Figure(key, label, [one.median / other.median], "times")


def per(key: str, label: str, more: Figure, less: Figure, count: int) -> Figure:
    """Return what each of `count` things adds, by the medians with and without them."""
    return Figure(key, label, [(more.median - less.median) / count], more.unit)


def table(sections: Sequence[Sequence[Figure]]) -> str:
    """Return the table, sections apart; raises NotMeasuredError for the first figure without values."""
    header = f"{'':<{_LABEL}} {'median':>8} {'min':>8} {'max':>8}"
    return "\n\n".join([header, *("\n".join(figure.row() for figure in section) for section in sections)])


def summary(sections: Sequence[Sequence[Figure]]) -> dict[str, Any]:
    """Return all figures by their keys."""
    return {figure.key: figure.summary() for section in sections for figure in section}
