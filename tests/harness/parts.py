"""The parts in which stories run: what disturbs nobody side by side, what needs quiet two at once, then one by one."""

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

# pytest's exit code where no story of a part was chosen.
NONE_CHOSEN = int(pytest.ExitCode.NO_TESTS_COLLECTED)
_STORIES = "tests/e2e"
# More would take the cores from each other's sound.
_QUIET_AT_ONCE = 2
_SIDE_BY_SIDE = ("--dist", "loadgroup", "--no-loadscope-reorder")


@dataclass(frozen=True)
class Choice:
    """Which stories, and how many of them at once."""

    files: tuple[str, ...] = (_STORIES,)
    expression: str = ""
    at_once: int = 2

    def commands(self, folder: Path) -> list[tuple[list[str], Path]]:
        """Return the command of each part in order, with the report (JUnit XML) that it writes into a folder."""
        chosen = [*self.files, *(["-k", self.expression] if self.expression else [])]
        parts = {
            "stories.xml": ["-m", "not alone and not quiet", "-n", str(self.at_once), *_SIDE_BY_SIDE],
            "stories-quiet.xml": ["-m", "quiet", "-n", str(min(_QUIET_AT_ONCE, self.at_once)), *_SIDE_BY_SIDE],
            "stories-alone.xml": ["-m", "alone"],
        }
        start = [sys.executable, "-m", "pytest", *chosen]
        return [([*start, *words, "--junitxml", str(folder / name)], folder / name) for name, words in parts.items()]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options by which a command chooses stories."""
    parser.add_argument("files", nargs="*", default=[_STORIES], help="files or ids of stories (default all)")
    parser.add_argument("-k", dest="expression", default="", help="pytest's expression that chooses among them")
    parser.add_argument("--at-once", type=int, default=2, help="how many stories run at once (default 2)")


def choice_of(options: argparse.Namespace) -> Choice:
    """Return what the options choose."""
    return Choice(tuple(options.files), options.expression, options.at_once)


def environment() -> dict[str, str]:
    """Return the environment for all parts of one run, for which the chart is installed once."""
    return {"STORIES_RUN": f"{time.time()}", **os.environ}
