"""What a table of reasons is made of."""

from dataclasses import dataclass

from livekit_operator.reasons import Reason

EVENT = "Event"
"""In place of a condition's type: the reasons of a row are those of Events alone."""


@dataclass(frozen=True)
class Row:
    """Reasons that mean the same: what that is, and what is to be done, empty where nothing is. Texts are Markdown."""

    reasons: tuple[Reason, ...]
    meaning: str
    todo: str = ""
    most: str = ""
    """How often it happens before it is told."""
    condition: str = ""
    """The type of the condition that has it, where the table tells of several; or `EVENT`."""
    others: bool = False
    """Whether it stands for more reasons, which another table tells of."""
    also: tuple[str, ...] = ()
    """The kinds that have it beside those of the table."""


@dataclass(frozen=True)
class Table:
    """A table of the documentation: the file and the place in it, the kinds that have these reasons, and the rows."""

    doc: str
    name: str
    kinds: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
