"""The room that a MeetingRoom asks for, and whether the one there is was made so."""

from livekit_operator.resources import meetingroom as build
from tests.unit.operator.resources import models


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
