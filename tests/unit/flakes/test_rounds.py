"""Rounds: what is run, and what becomes of it."""

from pathlib import Path

import pytest

from tests.cluster import layout
from tests.flakes.__main__ import RoundError, main, run_round
from tests.harness.parts import Choice

TESTS = """
import pathlib

import pytest

ROUND = pathlib.Path(__file__).with_name("round")


def test_steady(): pass


@pytest.mark.alone
def test_now_and_then():
    number = int(ROUND.read_text()) if ROUND.exists() else 0
    ROUND.write_text(str(number + 1))
    assert number != 1, "the second time"
"""


@pytest.fixture
def stories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a file of two tests, of which one fails in the second round."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  alone: one\n  quiet: another\n")
    file = tmp_path / "test_flaky.py"
    file.write_text(TESTS)
    monkeypatch.chdir(tmp_path)
    # Each pytest starts in a moment without what it does not need.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin")
    monkeypatch.setattr(layout, "STATE", tmp_path / "state")
    return file


def test_a_story_that_fails_now_and_then_is_in_the_table(stories: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([stories.name, "--rounds", "2", "--load", "0", "--at-once", "1"]) == 1
    told = capfd.readouterr().out
    assert "now_and_then       2         1" in told
    assert "the second time" in told
    assert "steady             2         0" in told


def test_stories_that_pass_are_fine(stories: Path) -> None:
    assert main([stories.name, "-k", "steady", "--rounds", "1", "--load", "0", "--at-once", "1"]) == 0


def test_none_chosen_is_an_error(stories: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([stories.name, "-k", "nothing", "--rounds", "1", "--load", "0", "--at-once", "1"]) == 2
    assert "no story was chosen" in capfd.readouterr().err


def test_what_pytest_cannot_run_is_an_error(stories: Path, tmp_path: Path) -> None:
    stories.write_text("import nothing_of_this_name\n")
    with pytest.raises(RoundError, match="pytest ended with 2"):
        run_round(Choice((stories.name,), at_once=1), tmp_path / "round-1")
