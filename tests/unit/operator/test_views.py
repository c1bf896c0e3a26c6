"""What is kept of a room's metadata is enough to compare it, and never long."""

import hashlib

import pytest

from livekit_operator.views import RoomSettings, RoomView, remembered

LONG = "m" * 257


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ("", ""),
        ("m" * 256, "m" * 256),
        (LONG, f"sha256:{hashlib.sha256(LONG.encode()).hexdigest()}"),
        (LONG + "\ud800", f"sha256:{hashlib.sha256((LONG + '?').encode()).hexdigest()}"),
    ],
    ids=["none", "short", "long", "long and no text"],
)
def test_long_metadata_is_kept_as_its_digest(metadata: str, kept: str) -> None:
    assert remembered(metadata) == kept


def test_a_room_has_the_name_that_it_was_made_with() -> None:
    assert RoomView("RM_1", RoomSettings("lobby", 0, 0, 0, "")).name == "lobby"
