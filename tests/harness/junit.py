"""What pytest wrote with `--junitxml`: which test ended how."""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from tests.harness.progress import plain


@dataclass(frozen=True)
class Ending:
    """How a test ended; `reason` is the first line of what failed, empty where nothing did."""

    test: str
    failed: bool
    reason: str = ""


def endings(text: str) -> list[Ending]:
    """Return how each test of a report ended, those left out that were skipped.

    One that failed and then could not be taken down either is there once. Raises ParseError for half a report.
    """
    found: dict[str, Ending] = {}
    for case in ElementTree.fromstring(text).iter("testcase"):  # noqa: S314 - pytest wrote it on this machine
        if case.find("skipped") is not None:
            continue
        name = _id_of(case)
        known = found.get(name)
        if known is None or not known.failed:
            problem = next(_problems(case), None)
            found[name] = Ending(name, problem is not None, problem or "")
    return list(found.values())


def _problems(case: ElementTree.Element) -> Iterator[str]:
    for element in (*case.iterfind("failure"), *case.iterfind("error")):
        words = (element.get("message") or element.text or "no reason was given").strip()
        yield words.splitlines()[0]


def _id_of(case: ElementTree.Element) -> str:
    """Return the id by which pytest runs a test: the report has its module's name in the place of the file's."""
    return plain(f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '')}")
