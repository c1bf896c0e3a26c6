"""What the parts of a run are."""

import argparse
import sys
from pathlib import Path

import pytest

from tests.e2e.__main__ import main
from tests.harness.parts import NONE_CHOSEN, Choice, add_options, choice_of, environment


def test_each_part_has_its_command_and_report(tmp_path: Path) -> None:
    commands, reports = zip(*Choice(("tests/e2e/test_turn.py",), "media", 3).commands(tmp_path), strict=True)
    start = [sys.executable, "-m", "pytest", "tests/e2e/test_turn.py", "-k", "media", "-m"]
    side_by_side = ["--dist", "loadgroup", "--no-loadscope-reorder"]
    assert commands == (
        [*start, "not alone and not quiet", "-n", "3", *side_by_side, "--junitxml", str(reports[0])],
        [*start, "quiet", "-n", "2", *side_by_side, "--junitxml", str(reports[1])],
        [*start, "alone", "--junitxml", str(reports[2])],
    )
    assert len(set(reports)) == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], Choice()),
        (["--at-once", "3"], Choice(at_once=3)),
        (["a.py", "b.py::test_b", "-k", "media"], Choice(("a.py", "b.py::test_b"), "media")),
    ],
)
def test_options_choose(words: list[str], expected: Choice) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    assert choice_of(parser.parse_args(words)) == expected


def test_the_parts_of_a_run_know_that_they_are_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORIES_RUN", raising=False)
    assert environment()["STORIES_RUN"] != environment()["STORIES_RUN"]
    monkeypatch.setenv("STORIES_RUN", "of others")
    assert environment()["STORIES_RUN"] == "of others"


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((0, 0, 0), 0),
        ((1, 0, 0), 1),
        ((0, 2, 1), 2),
        ((NONE_CHOSEN, 0, NONE_CHOSEN), 0),
        ((NONE_CHOSEN, NONE_CHOSEN, 1), 1),
        # Whoever asked for a story that does not exist is told.
        ((NONE_CHOSEN, NONE_CHOSEN, NONE_CHOSEN), NONE_CHOSEN),
    ],
)
def test_every_part_runs_and_what_failed_is_told(
    codes: tuple[int, ...], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(codes)
    monkeypatch.setattr(
        "tests.harness.parts.Choice.commands",
        lambda *_: [([sys.executable, "-c", f"raise SystemExit({code})"], Path()) for code in left],
    )
    assert main([]) == expected
