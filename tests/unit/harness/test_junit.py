"""What pytest's reports say, read back: from text, and from a report that this pytest writes."""

import subprocess
import sys
from pathlib import Path
from xml.etree.ElementTree import ParseError

import pytest

from tests.harness.junit import Ending, endings

STORY = "tests/e2e/test_turn.py::test_media"


def report(*cases: str) -> str:
    return f'<?xml version="1.0"?><testsuites><testsuite name="pytest">{"".join(cases)}</testsuite></testsuites>'


def case(inside: str = "", name: str = "test_media") -> str:
    return f'<testcase classname="tests.e2e.test_turn" name="{name}" time="1.0">{inside}</testcase>'


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        ([], []),
        ([case()], [Ending(STORY, failed=False)]),
        ([case(name="test_media[udp]@ports")], [Ending(f"{STORY}[udp]", failed=False)]),
        ([case('<skipped message="not here"/>')], []),
        (
            [case('<failure message="waited 60 s for a&#10;more"/>')],
            [Ending(STORY, failed=True, reason="waited 60 s for a")],
        ),
        ([case("<error>\nno server\n</error>")], [Ending(STORY, failed=True, reason="no server")]),
        ([case("<failure/>")], [Ending(STORY, failed=True, reason="no reason was given")]),
        (
            [case('<failure message="first"/>'), case('<error message="then"/>')],
            [Ending(STORY, failed=True, reason="first")],
        ),
        (
            [case(), case('<error message="failed on teardown"/>')],
            [Ending(STORY, failed=True, reason="failed on teardown")],
        ),
        (
            [case(), case(name="test_other")],
            [Ending(STORY, failed=False), Ending(STORY.replace("media", "other"), failed=False)],
        ),
    ],
)
def test_each_test_is_told_of_once(cases: list[str], expected: list[Ending]) -> None:
    assert endings(report(*cases)) == expected


def test_half_a_report_is_an_error() -> None:
    with pytest.raises(ParseError):
        endings(report(case())[:-20])


def test_a_report_of_this_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "import pytest\n"
        "@pytest.fixture\n"
        "def broken():\n    yield\n    raise ValueError('not taken down')\n"
        "def test_passes(): pass\n"
        "def test_fails(): assert 1 == 2, 'they differ'\n"
        "def test_is_left(broken): pass\n"
        "def test_is_both(broken): assert 1 == 2, 'first of all'\n"
        "@pytest.mark.skip\n"
        "def test_is_skipped(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    file = tmp_path / "report.xml"
    subprocess.run([*command, "--junitxml", str(file), str(tmp_path)], cwd=tmp_path, capture_output=True, check=False)
    found = {ending.test.rpartition("::")[2]: ending for ending in endings(file.read_text())}
    assert {name: ending.failed for name, ending in found.items()} == {
        "test_passes": False,
        "test_fails": True,
        "test_is_left": True,
        "test_is_both": True,
    }
    assert "they differ" in found["test_fails"].reason
    assert "not taken down" in found["test_is_left"].reason
    assert "first of all" in found["test_is_both"].reason
    assert all(ending.test.startswith("test_one.py::") for ending in found.values())
