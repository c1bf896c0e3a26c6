"""What failed how often."""

import pytest

from tests.flakes.table import Count, count, table
from tests.harness.junit import Ending

ONE, TWO = "tests/e2e/test_turn.py::test_media", "tests/e2e/test_routes.py::test_a_gateway"


def passed(story: str) -> Ending:
    return Ending(story, failed=False)


def failed(story: str, reason: str = "waited") -> Ending:
    return Ending(story, failed=True, reason=reason)


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([], []),
        ([[passed(ONE)], [passed(ONE)]], [Count(ONE, 2, 0)]),
        ([[passed(ONE)], [failed(ONE, "why")], [failed(ONE, "else")]], [Count(ONE, 3, 2, "why")]),
        # Who failed most often comes first, then by name.
        ([[passed(ONE), failed(TWO)]], [Count(TWO, 1, 1, "waited"), Count(ONE, 1, 0)]),
        ([[passed(ONE), passed(TWO)]], [Count(TWO, 1, 0), Count(ONE, 1, 0)]),
        # Of the rounds in which it ran.
        ([[failed(ONE), failed(TWO)], [passed(ONE)]], [Count(TWO, 1, 1, "waited"), Count(ONE, 2, 1, "waited")]),
    ],
)
def test_each_story_is_counted(rounds: list[list[Ending]], expected: list[Count]) -> None:
    assert count(rounds) == expected


def test_the_table_has_reason_and_command_of_what_failed() -> None:
    assert table([Count(ONE, 3, 2, "waited 60 s for an agent"), Count(TWO, 3, 0)]) == (
        "story              rounds  failures\n"
        "turn: media             3         2\n"
        "    first: waited 60 s for an agent\n"
        "    alone: .venv/bin/python -m pytest 'tests/e2e/test_turn.py::test_media'\n"
        "routes: a_gateway       3         0"
    )


def test_a_long_reason_is_cut() -> None:
    assert f"    first: {'x' * 160}…\n" in table([Count(ONE, 1, 1, "x" * 1000)])
