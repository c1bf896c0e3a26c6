"""What held the time of a benchmark is read from the machine and from the API server's metrics."""

import os
from pathlib import Path

from tests.benchmarks.rooms.api import parse_durations
from tests.benchmarks.rooms.profile import Moment, Phase, programs, table

METRICS = """\
apiserver_request_duration_seconds_bucket{resource="secrets",subresource="",verb="POST",le="0.1"} 3
apiserver_request_duration_seconds_sum{component="apiserver",resource="secrets",subresource="",verb="POST"} 0.03
apiserver_request_duration_seconds_count{component="apiserver",resource="secrets",subresource="",verb="POST"} 3
apiserver_request_duration_seconds_sum{resource="secrets",scope="resource",subresource="",verb="POST"} 0.01
apiserver_request_duration_seconds_count{resource="secrets",scope="resource",subresource="",verb="POST"} 1
apiserver_request_duration_seconds_sum{resource="meetingrooms",subresource="status",verb="PATCH"} 0.5
apiserver_request_duration_seconds_count{resource="meetingrooms",subresource="status",verb="PATCH"} 5
apiserver_request_duration_seconds_sum{resource="meetingrooms",subresource="",verb="WATCH"} 60
apiserver_request_duration_seconds_count{resource="meetingrooms",subresource="",verb="WATCH"} 1
apiserver_request_duration_seconds_sum{resource="leases",subresource="",verb="PUT"} 1
apiserver_request_duration_seconds_count{resource="leases",subresource="",verb="PUT"} 1
"""


def test_requests_are_counted_by_kind() -> None:
    assert parse_durations(METRICS) == {"POST secrets": (0.04, 4), "PATCH meetingrooms/status": (0.5, 5)}


def test_programs_are_told_apart_and_the_rest_is_everything_else(tmp_path: Path) -> None:
    def process(pid: int, name: str, user: int, system: int, of_children: int = 0) -> None:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(
            f"{pid} ({name}) S {'0 ' * 10}{user} {system} {of_children} 0 20 0 1 0 5\n"
        )

    process(11, "etcd", 100, 50)
    process(12, "a (b) c", 700, 0)
    process(13, "python3.11", 200, 0)
    process(os.getpid(), "python", 300, 0, 50)
    (tmp_path / "stat").write_text("cpu 1500 0 500 9999 77 0 0 0 0 0\ncpu0 1 2 3\n")
    assert programs(tmp_path) == {
        "etcd": 1.5,
        "operator, or bare script": 2.5,
        "benchmark: applies rooms and watches them": 3.0,
        "everything else": 13.0,
    }


def test_phases_are_compared() -> None:
    before = Moment(10.0, {"etcd": 1.0}, {"POST secrets": (1.0, 100)})
    after = Moment(20.0, {"etcd": 6.0}, {"POST secrets": (1.5, 200), "PATCH meetingrooms": (0.0, 0)})
    lines = {line[:52].strip(): line[52:].split() for line in table([Phase("operator: 100", before, after)])}
    assert lines["seconds"] == ["10.0"]
    assert lines["cores of etcd"] == lines["cores of all"] == ["0.50"]
    assert lines["ms of the API server for POST secrets"] == ["5.0"]
    assert "ms of the API server for PATCH meetingrooms" not in lines
    assert table([]) == []
