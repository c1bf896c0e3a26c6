"""What is told of stories while they run."""

import pytest

from tests.harness.progress import Progress, cpu_times, plain, seconds_left, short

STAT = "cpu  100 5 50 800 40 1 4 0 7 0\ncpu0 50 2 25 400 20 0 2 0 3 0\n"


def test_times_of_all_cores_are_busy_or_idle() -> None:
    assert cpu_times(STAT) == (160, 840)


@pytest.mark.parametrize(
    ("waiting", "known", "at_once", "seconds"),
    [
        ([], {"a": 30.0}, 1, 0.0),
        (["a", "b"], {"a": 30.0, "b": 10.0}, 1, 40.0),
        (["a", "b"], {"a": 30.0, "b": 10.0}, 2, 20.0),
        (["new"], {"a": 30.0, "b": 10.0}, 1, 20.0),
        (["new"], {}, 1, 0.0),
    ],
)
def test_the_time_left_is_what_stories_took_before(
    waiting: list[str], known: dict[str, float], at_once: int, seconds: float
) -> None:
    assert seconds_left(waiting, known, at_once) == seconds


def test_a_group_is_no_part_of_a_storys_name() -> None:
    assert plain("tests/e2e/test_turn.py::test_media@load-balancer") == "tests/e2e/test_turn.py::test_media"
    assert short("tests/e2e/test_turn.py::test_media") == "turn: media"


def test_what_runs_is_told_when_a_story_ends() -> None:
    told: list[str] = []
    progress = Progress(told.append, known={})
    progress.expect(["tests/e2e/test_a.py::test_one", "tests/e2e/test_b.py::test_two@group"])
    progress.pytest_runtest_logstart("tests/e2e/test_a.py::test_one")
    progress.pytest_runtest_logstart("tests/e2e/test_b.py::test_two@group")
    report = pytest.TestReport("tests/e2e/test_a.py::test_one", ("", 0, ""), {}, "failed", None, "call", duration=7.0)
    progress.pytest_runtest_logreport(report)
    progress.pytest_runtest_logfinish("tests/e2e/test_a.py::test_one")
    assert told == ["\n[1/2] a: one FAILED in 7 s; running: b: two (0 s); about 0 min left"]
