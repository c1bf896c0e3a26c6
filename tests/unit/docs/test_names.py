"""Files and functions that the docs for contributors name are there."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
ROOTS = [REPOSITORY / folder for folder in (".", "operator/livekit_operator", "agent_image/voice_agent")]
FILE = re.compile(r"`([\w./-]+\.py)`(?:\s+\(((?:`[\w.]+`[,\s]*)+)\))?")
QUOTED = re.compile(r"`([\w.]+)`")
DOCS = ("CONTRIBUTING.md", "docs/architecture.md")


@pytest.mark.parametrize("document", DOCS)
def test_what_a_document_names_is_there(document: str) -> None:
    named = FILE.findall((REPOSITORY / document).read_text())
    assert named, f"{document} names no file"
    missing = [problem for path, names in named for problem in problems(path, QUOTED.findall(names))]
    assert missing == []


def problems(path: str, names: list[str]) -> list[str]:
    """Return what is wrong with a file that is named, and with functions and classes that it is to have."""
    if "/" not in path and any(root.glob(f"*/{path}") for root in ROOTS):
        return []  # such a file of each kind
    source = next((root / path for root in ROOTS if (root / path).is_file()), None)
    if source is None:
        return [f"{path} is missing"]
    text = source.read_text()
    return [f"{path} has no {part}" for name in names for part in name.split(".") if not is_defined(part, text)]


def is_defined(name: str, text: str) -> bool:
    """Return whether a module has a function, class or attribute of this name."""
    return re.search(rf"^\s*((async )?def|class) {name}\b|^\s*{name}\b( =|:)", text, re.MULTILINE) is not None


@pytest.mark.parametrize("path", ["rooms/nowhere.py", "rooms/agents.py"])
def test_what_is_not_there_is_found(path: str) -> None:
    assert problems(path, ["serve", "nobody"]) != []
