"""The room that a MeetingRoom asks for, and whether the one there is was made so."""

from typing import Any

import pytest

from livekit_operator.rooms.decisions import settings as build
from livekit_operator.rooms.decisions.settings import NEVER_SECONDS
from livekit_operator.views import AgentRequest, RoomSettings
from tests.fakes import models


def test_a_room_without_timeouts_stays_open() -> None:
    settings = build.room_settings(models.room(metadata="hi", maxParticipants=3))
    assert (settings.name, settings.metadata, settings.max_participants) == ("support-42", "hi", 3)
    assert settings.empty_timeout == settings.departure_timeout == build.NEVER_SECONDS < 2**31
    limited = build.room_settings(models.room(emptyTimeoutSeconds=5, departureTimeoutSeconds=7))
    assert (limited.empty_timeout, limited.departure_timeout) == (5, 7)


def test_the_name_of_a_room_is_its_namespaces_own() -> None:
    guest = models.room(namespace="guests", serverRef={"name": "voice", "namespace": "team"})
    assert build.room_name(guest) == "guests/support-42"
    assert build.room_name(models.room(roomName="Lobby 1")) == "Lobby 1"


@pytest.mark.parametrize(
    ("spec", "participants", "timeout"),
    [
        ({}, 10, NEVER_SECONDS),
        ({"persistent": False}, 10, 0),
        ({"preset": "studio"}, 0, NEVER_SECONDS),
        ({"preset": "studio", "persistent": False, "maxParticipants": 3}, 3, 0),
        ({"kind": "LiveStream"}, 0, NEVER_SECONDS),
        ({"kind": "LiveStream", "maxParticipants": 5}, 5, NEVER_SECONDS),
        ({"maxParticipants": 0}, 0, NEVER_SECONDS),
    ],
)
def test_what_is_left_out_is_left_to_preset_and_server(spec: dict[str, Any], participants: int, timeout: int) -> None:
    settings = build.room_settings(models.room(**spec))
    assert (settings.max_participants, settings.empty_timeout, settings.departure_timeout) == (
        participants,
        timeout,
        timeout,
    )


MADE = RoomSettings("r", 10, 300, 20, "m")
SYNCED = RoomSettings("r", 10, 300, 20, "m", sync_streams=True)
HIDDEN = [
    SYNCED,
    RoomSettings("r", 10, 300, 20, "m", preset="studio"),
    RoomSettings("r", 10, 300, 20, "m", min_playout_delay=1, max_playout_delay=2),
    RoomSettings("r", 10, 300, 20, "m", agents=(AgentRequest("a"),)),
    RoomSettings("r", 10, 300, 20, "m", agents=(AgentRequest("a", "b"),)),
    RoomSettings("r", 10, 300, 20, "m", agents=(AgentRequest("a", attributes=(("k", "v"),)),)),
    RoomSettings("r", 10, 300, 20, "m", agents=(AgentRequest("a", deployment="blue"),)),
]


def test_every_setting_but_the_metadata_is_in_the_digest() -> None:
    others = [RoomSettings("r", 9, 300, 20, ""), RoomSettings("r", 10, 1, 20, ""), RoomSettings("r", 10, 300, 1, "")]
    assert len({build.settings_hash(settings) for settings in [MADE, *HIDDEN, *others]}) == len(
        [MADE, *HIDDEN, *others]
    )
    assert build.settings_hash(RoomSettings("r", 10, 300, 20, "other")) == build.settings_hash(MADE)


def test_a_room_keeps_the_digest_that_it_was_made_with() -> None:
    """Another one would have every empty room re-created by an upgrade."""
    assert (build.settings_hash(MADE), build.settings_hash(SYNCED)) == ("0979bbec87", "be040e1ff5")


@pytest.mark.parametrize(
    ("wanted", "made_with", "expected"),
    [
        pytest.param(MADE, MADE, False, id="as it was made"),
        pytest.param(RoomSettings("r", 10, 300, 20, "other"), MADE, False, id="other metadata"),
        pytest.param(RoomSettings("r", 9, 300, 20, "m"), MADE, True, id="other limit"),
        pytest.param(RoomSettings("r", 10, 1, 20, "m"), MADE, True, id="other timeout"),
        pytest.param(RoomSettings("r", 10, 300, 1, "m"), MADE, True, id="other departure timeout"),
        pytest.param(RoomSettings("r", 0, 0, 0, "m"), RoomSettings("r", 0, 0, 0, "m"), False, id="left to the server"),
        pytest.param(RoomSettings("r", 0, 300, 20, "m"), MADE, True, id="no longer limited"),
        pytest.param(SYNCED, MADE, True, id="what no server tells"),
        pytest.param(SYNCED, SYNCED, False, id="what no server tells, as it was made"),
        pytest.param(MADE, SYNCED, True, id="what no server tells, no longer"),
        pytest.param(MADE, None, False, id="made by somebody"),
        *(
            pytest.param(hidden, None, True, id=f"made by somebody, who knows how {n}")
            for n, hidden in enumerate(HIDDEN)
        ),
    ],
)
def test_a_room_is_to_be_made_anew_when_it_was_made_otherwise(
    wanted: RoomSettings, made_with: RoomSettings | None, expected: bool
) -> None:
    known = build.settings_hash(made_with) if made_with else None
    assert build.differs(MADE, wanted, known) is expected
