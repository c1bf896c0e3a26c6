"""The reference page names every field of every resource."""

from typing import Any

import pytest

from livekit_operator.api.kinds import KINDS, Kind
from livekit_operator.api.writers.crd import structural
from livekit_operator.api.writers.reference import build_reference

PAGE = build_reference()


def leaves(schema: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, node in schema.get("properties", {}).items():
        found.append(f"{prefix}{name}")
        inner = node.get("items", node)
        found += leaves(inner, f"{prefix}{name}[]." if node.get("type") == "array" else f"{prefix}{name}.")
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_has_a_row_with_words(kind: Kind) -> None:
    for model in (kind.spec, kind.status):
        for path in leaves(structural(model)):
            [row, *_] = [line for line in PAGE.splitlines() if line.startswith(f"| `{path}` |")]
            cells = [cell.strip() for cell in row.replace("\\|", "or").strip("|").split("|")]
            assert len(cells) == 4
            assert cells[1]
            assert cells[3], path


def test_rules_between_fields_are_told() -> None:
    assert "- `tokens`: two tokens must not share a Secret." in PAGE
    assert "- set exactly one of portRange and muxPorts." in PAGE or "set exactly one of portRange" in PAGE


def test_a_number_or_a_share_is_told_from_a_quantity() -> None:
    [surge] = [line for line in PAGE.splitlines() if line.startswith("| `rollout.maxSurge` |")]
    assert "| integer ≥ 1 or percentage | `25%` |" in surge


def test_tables_are_not_broken_by_a_description() -> None:
    widths = {line.replace("\\|", "").count("|") for line in PAGE.splitlines() if line.startswith("|")}
    assert widths == {5}
