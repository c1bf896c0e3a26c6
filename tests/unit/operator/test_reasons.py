"""Every reason that the operator gives is documented, and whatever is a fault says what to do."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import livekit_operator
from tests.harness.reasons import PASSED_ON, Source

DOCS = Path(__file__).resolve().parents[3] / "docs"
# Reasons of what is as it should be, was asked for, or is over by itself: nothing is to be done.
NO_FAULT = frozenset(
    {
        "Accepted",
        "Adopted",
        "Applied",
        "AsExpected",
        "Available",
        "Canary",
        "Deleting",
        "Draining",
        "NamespaceTerminating",
        "NotAsked",
        "OwnAgent",
        "PoolsReady",
        "Progressing",
        "Ready",
        "Recreating",
        "Retrying",
        "RollingOut",
        "RoomEnded",
        "RotatingKeys",
        "RunnerNotInjected",
        "ScaledToZero",
        "ScalingDown",
        "Starting",
        "UpToDate",
        "WaitingForRooms",
        "WithinLimits",
    }
)
_TO_DO = (
    "add|annotate|ask|change|check|choose|correct|create|delete|drop|give|have|install|leave|let|look|make|name|put|"
    "raise|read|remove|say|see|set|shorten|take|wait|widen"
)
# Where a part of a sentence begins these are no nouns and no infinitives; of others' objects their owners decide.
_REMEDY = re.compile(rf"(?:^|[.:;,]|\bor|\band) (?:{_TO_DO})\b|^(?:{_TO_DO})\b|whoever has the \w+ adds", re.IGNORECASE)
SOURCE = Source(Path(livekit_operator.__file__).parent)
USES = SOURCE.uses()


def documented() -> dict[str, list[str]]:
    """Return reason -> what the tables of the documentation say is to be done, one for each row."""
    found: dict[str, list[str]] = {}
    for path in (DOCS / "operations.md", DOCS / "pools.md"):
        place, todo = None, None
        for line in path.read_text().splitlines():
            cells = [cell.strip() for cell in line.split("|")[1:-1]] if line.startswith("|") else []
            if not cells:
                place = None
            elif place is None:
                place = next((n for n, cell in enumerate(cells) if cell.startswith("reason")), len(cells))
                todo = cells.index("what to do") if "what to do" in cells else None
            for reason in re.findall(r"`([A-Z]\w+)`", cells[place]) if place is not None and place < len(cells) else ():
                found.setdefault(reason, []).append("" if todo is None else cells[todo])
    return found


def fits(reason: str, known: str) -> bool:
    """Return whether a documented reason is one of the code, which may begin with what a kind is called (*)."""
    return known.endswith(reason[1:]) and known != reason[1:] if reason.startswith("*") else known == reason


def test_every_reason_is_in_a_table_of_the_documentation() -> None:
    known = documented()
    assert not sorted({use.reason for use in USES if not any(fits(use.reason, one) for one in known)})


def test_every_documented_reason_is_one_that_the_operator_gives() -> None:
    given = {use.reason for use in USES}
    assert not sorted(one for one in documented() if not any(fits(reason, one) for reason in given))


def test_the_documentation_says_what_to_do_about_each_fault() -> None:
    assert not sorted(reason for reason, todo in documented().items() if reason not in NO_FAULT and not all(todo))


def test_the_message_of_each_fault_says_what_to_do() -> None:
    given = [replace(use, words=" ".join(use.words.split())) for use in USES if use.reason not in NO_FAULT]
    assert not [use for use in given if use.words and PASSED_ON not in use.words and not _REMEDY.search(use.words)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("Secret keys does not exist.", False),
        ("Secret keys does not exist: create it.", True),
        ("The name is taken. Choose another one, or remove that one.", True),
        ("The set of names has a look of its own.", False),
    ],
)
def test_what_counts_as_saying_what_to_do(words: str, told: bool) -> None:
    assert bool(_REMEDY.search(words)) is told
