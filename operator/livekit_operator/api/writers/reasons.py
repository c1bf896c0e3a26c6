"""The writer of the tables of reasons, between markers in pages that are otherwise written by hand."""

from collections.abc import Iterable

from livekit_operator.reasons.tables import EVENT, Row, Table


def with_table(page: str, table: Table) -> str:
    """Return a page with a table between its markers; raises ValueError when a marker is missing."""
    before, begin, rest = page.partition(f"<!-- reasons: {table.name} -->\n")
    _, end, after = rest.partition("<!-- /reasons -->")
    if not begin or not end:
        raise ValueError(f"{table.doc} has no markers for the reasons of {table.name!r}")
    return f"{before}{begin}{build_table(table)}{end}{after}"


def build_table(table: Table) -> str:
    """Return a table as Markdown."""
    lines = [_line(table.columns), "|" + "---|" * len(table.columns)]
    above = ""
    for row in table.rows:
        # A condition is named once, above all its reasons; each Event is one by itself.
        condition = "" if row.condition == above else f"`{row.condition}`"
        above = row.condition
        lines.append(_line(_cells(table, row, EVENT if row.condition == EVENT else condition)))
    return "\n".join(lines) + "\n"


def _cells(table: Table, row: Row, condition: str) -> list[str]:
    told = ", ".join([*(f"`{reason}`" for reason in row.reasons), *(["…"] if row.others else [])])
    cells = {"condition": condition, "meaning": row.meaning, "what it is": row.meaning}
    cells |= {"the most": row.most, "what to do": row.todo}
    return [told if column.startswith("reason") else cells[column] for column in table.columns]


def _line(cells: Iterable[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"
