"""What failed how often, as a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.harness.junit import Ending
from tests.harness.progress import short

_LONGEST_REASON = 160


@dataclass(frozen=True)
class Count:
    """A story in all rounds: how often it ran and failed, and why it failed first."""

    story: str
    rounds: int
    failures: int
    reason: str = ""

    @property
    def command(self) -> str:
        """The command that runs it alone."""
        return f".venv/bin/python -m pytest '{self.story}'"


def count(rounds: Iterable[Iterable[Ending]]) -> list[Count]:
    """Return a count for each story, those that failed most often first."""
    found: dict[str, Count] = {}
    for endings in rounds:
        for ending in endings:
            known = found.get(ending.test, Count(ending.test, 0, 0))
            reason = known.reason or ending.reason
            found[ending.test] = Count(ending.test, known.rounds + 1, known.failures + ending.failed, reason)
    return sorted(found.values(), key=lambda one: (-one.failures / one.rounds, one.story))


def table(counts: Sequence[Count]) -> str:
    """Return a line for each story, and under those that failed why they first did and how to run them alone."""
    width = max((len(short(one.story)) for one in counts), default=0)
    lines = [f"{'story':<{width}}  rounds  failures"]
    for one in counts:
        lines.append(f"{short(one.story):<{width}}  {one.rounds:6}  {one.failures:8}")
        if one.failures:
            lines += [f"    first: {_cut(one.reason)}", f"    alone: {one.command}"]
    return "\n".join(lines)


def _cut(reason: str) -> str:
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"
