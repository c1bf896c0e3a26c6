"""What every kind stands on names none: whoever adds a kind changes nothing there."""

import re
from pathlib import Path

import pytest

from livekit_operator.api.kinds import KINDS
from livekit_operator.process.wiring import TABLE

PACKAGE = Path(__file__).parents[3] / "operator" / "livekit_operator"
KIT = [path for folder in ("reconciling", "engine") for path in sorted((PACKAGE / folder).rglob("*.py"))]
# What people call the kinds, in one word or several, and in names of Python.
WORDS = {*TABLE, *(kind.kind for kind in KINDS), *(kind.plural for kind in KINDS), "server", "pool", "room"}
NAMES = re.compile(rf"(?<![a-z])({'|'.join(sorted(WORDS))})s?(?![a-z])", re.IGNORECASE)
# Neither the API server nor livekit-server is a kind, nor are the clients' errors and answers.
OTHERS = re.compile(
    r"API server|server-side|LiveKit server|livekit-server|Server(Refused|Unreachable|Loads)|server_load\b",
    re.IGNORECASE,
)


def named(text: str) -> list[str]:
    """Return the kinds that a text names."""
    return [found[0] for found in NAMES.finditer(OTHERS.sub("", text))]


def test_the_kit_names_no_kind() -> None:
    assert len(KIT) > 15
    assert {str(path.relative_to(PACKAGE)): found for path in KIT if (found := named(path.read_text()))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "a LiveKitServer",
        'context.wake("MeetingRoom", key)',
        "def of_pool(self)",
        "those of servers",
        "room_name",
        "UNDECLARED_ROOM",
        "VoiceAgentPools",
    ],
)
def test_what_a_kind_is_called(text: str) -> None:
    assert named(text)


@pytest.mark.parametrize("text", ["the API server refuses", "server-side apply", "observers", "except ServerRefused"])
def test_what_is_no_kind(text: str) -> None:
    assert named(text) == []
