"""Stories of one group run in one process, one after the other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.groups import longest_first

STORIES = """\
import os
import pytest
import time

pytestmark = pytest.mark.xdist_group("{group}")


@pytest.mark.parametrize("number", range(3))
def test_story(number: int) -> None:
    time.sleep(0.1)  # long enough for the other process to take the next one
    with open("{told}", "a") as told:
        told.write("{group} " + os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


def test_each_group_has_a_process(tmp_path: Path) -> None:
    told = tmp_path / "told"
    for group in ("ports", "balancer"):
        (tmp_path / f"test_{group}.py").write_text(STORIES.format(group=group, told=told))
    words = ("-n", "2", "--dist", "loadgroup", "-p", "tests.harness.groups", "-p", "no:cacheprovider", "-q", ".")
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(tmp_path), *words]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = told.read_text().splitlines()
    assert len(lines) == 6
    assert len(set(lines)) == 2, f"group and process: {lines}"


@pytest.mark.parametrize(
    ("wholes", "taken", "order"),
    [
        pytest.param("abcd", [0.0, 0.0, 0.0, 0.0], [0, 1, 2, 3], id="nothing is known"),
        pytest.param("abcd", [1.0, 9.0, 3.0, 4.0], [1, 3, 2, 0], id="each by itself"),
        pytest.param("gbgd", [3.0, 4.0, 3.0, 9.0], [3, 0, 2, 1], id="a group as a whole"),
    ],
)
def test_the_longest_begin_first(wholes: str, taken: list[float], order: list[int]) -> None:
    assert longest_first(wholes, taken) == order
