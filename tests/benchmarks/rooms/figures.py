"""What each figure is called, its unit, and the most that it should be."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.benchmarks.record import Value

BARE = "floor_"
# Key of a figure, of what it compares, and of what with.
RATIOS = (
    ("wall_ratio", "operator_wall_seconds", "floor_wall_seconds"),
    ("wall_scaling", "operator_wall_seconds", "operator_few_wall_seconds"),
    ("cpu_ratio", "operator_cpu_seconds", "floor_cpu_seconds"),
    ("restart_ratio", "restart_seconds", "floor_list_seconds"),
    ("latency_ratio", "latency_p50_ms", "floor_latency_p50_ms"),
    ("latency_p95_ratio", "latency_p95_ms", "floor_latency_p95_ms"),
    ("request_ratio", "request_p50_ms", "floor_request_p50_ms"),
    ("delete_ratio", "delete_seconds", "floor_delete_seconds"),
)


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    key: str
    label: str
    unit: str
    most: float | None = None


# Targets are for ten thousand rooms.
ROWS = (
    Row("floor_wall_seconds", "bare script: from the first request to the last room that is ready", "s"),
    Row("floor_wall_spread", "  its slower time, before the operator or after it, times the other", "times"),
    Row("operator_wall_seconds", "operator: the same", "s"),
    Row("wall_ratio", "  times the bare script's", "times", 1.25),
    Row("wall_scaling", "  times that of a thousand rooms", "times", 11),
    Row("floor_cpu_seconds", "bare script: CPU", "s"),
    Row("operator_cpu_seconds", "operator: CPU", "s"),
    Row("cpu_ratio", "  times the bare script's", "times", 2),
    Row("writes_per_room", "operator: requests that change something, for each room", "", 3),
    Row("peak_rss_mib", "operator: largest resident memory", "MiB", 250),
    Row("idle_cpu_percent", "operator with nothing to do: CPU, of a core", "%", 2),
    Row("idle_requests_per_second", "operator with nothing to do: requests to the API server", "per s", 1),
    Row("floor_list_seconds", "bare script: from its start to its end, listing everything once", "s"),
    Row("restart_seconds", "operator: from its start to every room looked at", "s"),
    Row("restart_ratio", "  times the bare script's", "times", 2),
    Row("restart_writes", "operator: requests that change something, after a start", "", 0),
    Row("restart_rss_mib", "operator: largest resident memory, after a start", "MiB", 250),
    Row("floor_latency_p50_ms", "bare script, one more room: from the request to ready, median", "ms"),
    Row("floor_latency_p95_ms", "  95th percentile", "ms"),
    Row("floor_request_p50_ms", "  of it the answer to that first request, median", "ms"),
    Row("latency_p50_ms", "operator, one more room: the same, median", "ms", 12),
    Row("latency_p95_ms", "  95th percentile", "ms", 20),
    Row("request_p50_ms", "  of it the answer to that first request, median", "ms"),
    Row("latency_ratio", "  times the bare script's, medians", "times"),
    Row("latency_p95_ratio", "  times the bare script's, 95th percentiles", "times"),
    Row("request_ratio", "  times the bare script's, the answers to that first request", "times"),
    Row("floor_delete_seconds", "bare script: from the first deletion to the last room gone", "s"),
    Row("delete_seconds", "operator: the same", "s"),
    Row("delete_ratio", "  times the bare script's", "times", 1.5),
    Row("renewed_latest_percent", "tokens made together: life of the one renewed last, at its renewal", "%", 70),
    Row("renewals_per_second", "  renewed in a second, mean", ""),
    Row("renewals_busiest_second", "  renewed in the busiest second", ""),
)


def table(figures: Mapping[str, float]) -> list[str]:
    """Return a line for each figure that was measured, in the order of ROWS, with its target where it has one."""
    lines = []
    for row in ROWS:
        if row.key not in figures:
            continue
        value = figures[row.key]
        line = f"{row.label:<68} {value:8.2f} {row.unit}"
        if row.most is not None:
            line = f"{line:<84} target {row.most:g} {'met' if round(value, 2) <= row.most else 'MISSED'}"
        lines.append(line)
    return lines


def recorded(figures: Mapping[str, float]) -> dict[str, Value]:
    """Return what a run's record has of the figures that were measured: beside each what the bare script took for it.

    The ratios follow from that, and the bare script's own figures are not apart.
    """
    of_bare = [(key, one, other) for key, one, other in RATIOS if other.startswith(BARE)]
    bare = {one: other for _, one, other in of_bare}
    apart = {*bare.values(), *(key for key, _, _ in of_bare)}
    return {
        row.key: Value(round(figures[row.key], 4), row.unit, _rounded(figures.get(bare.get(row.key, ""))))
        for row in ROWS
        if row.key in figures and row.key not in apart
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
