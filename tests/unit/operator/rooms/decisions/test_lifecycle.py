"""What a room is at a moment: closed, empty for too long, outdated, somebody else's. `decide` makes a plan of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.constants import ANNOTATION_RECREATE
from livekit_operator.moments import timestamp
from livekit_operator.rooms.decisions import lifecycle
from livekit_operator.rooms.decisions.lifecycle import OpenRoom
from livekit_operator.rooms.decisions.settings import room_settings, settings_hash
from livekit_operator.views import ParticipantView, RoomView
from tests.fakes import models

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = room_settings(models.room())
DIGEST = settings_hash(SETTINGS)
ROOM, ANOTHER = RoomView("RM_1", SETTINGS), RoomView("RM_2", SETTINGS)
IN_USE = RoomView("RM_1", SETTINGS, participants=1)
KNOWN = {"sid": "RM_1", "settingsHash": DIGEST}
PERSON, AGENT = ParticipantView("alice"), ParticipantView("agent-1", "front-desk")


def condition(reason: str) -> dict[str, str]:
    moment = {"lastTransitionTime": timestamp(NOW)}
    return {"type": "Ready", "status": "False", "reason": reason, "message": "It is so.", **moment}


RECREATING = {**KNOWN, "conditions": [condition(reasons.RECREATING)]}


def room(
    spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, asked: str | None = None
) -> MeetingRoom:
    """Return a room with a status; `asked` is the value of the annotation that asks to re-create it."""
    found = models.room(**(spec or {})).model_copy(update={"status": status or {}})
    if asked is not None:
        found.metadata.annotations[ANNOTATION_RECREATE] = asked
    return found


@pytest.mark.parametrize(("view", "digest"), [(ROOM, "of the last pass"), (ANOTHER, None)])
def test_a_room_keeps_its_digest_as_long_as_it_is_the_same(view: RoomView, digest: str | None) -> None:
    known = room(status={**KNOWN, "settingsHash": "of the last pass"})
    assert lifecycle.opened_room(known, view) == OpenRoom(view, digest)


@pytest.mark.parametrize(("view", "digest"), [(ROOM, "of the last pass"), (ANOTHER, DIGEST)])
def test_a_room_that_was_asked_for_may_be_the_one_of_before(view: RoomView, digest: str) -> None:
    known = room(status={**KNOWN, "settingsHash": "of the last pass"})
    assert lifecycle.made_room(known, view, SETTINGS) == OpenRoom(view, digest)


@pytest.mark.parametrize(
    ("spec", "view", "claimed", "reason"),
    [
        ({}, ROOM, False, reasons.ROOM_EXISTS),
        ({}, ROOM, True, None),
        ({"adopt": True}, ROOM, False, None),
        ({}, None, False, None),
    ],
    ids=["somebody else's", "its own", "to be taken over", "there is none"],
)
def test_whose_a_room_is(spec: dict[str, Any], view: RoomView | None, claimed: bool, reason: str | None) -> None:
    problem = lifecycle.foreign(room(spec), view, claimed=claimed)
    assert (problem.reason if problem else None) == reason


@pytest.mark.parametrize(
    ("spec", "empty_since", "seconds"),
    [
        ({}, None, None),
        ({}, timestamp(NOW), None),
        ({"ttlSecondsAfterEmpty": 60}, None, None),
        ({"ttlSecondsAfterEmpty": 60}, timestamp(NOW), 60),
        ({"ttlSecondsAfterEmpty": 0}, timestamp(NOW), 0),
        ({"expiresAt": timestamp(NOW + timedelta(seconds=90))}, None, 90),
        ({"expiresAt": timestamp(NOW + timedelta(seconds=90)), "ttlSecondsAfterEmpty": 60}, timestamp(NOW), 60),
        ({"expiresAt": timestamp(NOW + timedelta(seconds=30)), "ttlSecondsAfterEmpty": 60}, timestamp(NOW), 30),
    ],
)
def test_when_a_room_is_to_end(spec: dict[str, Any], empty_since: str | None, seconds: int | None) -> None:
    ends = lifecycle.ends_at(room(spec), empty_since)
    assert ends == (None if seconds is None else NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(("seconds", "over"), [(-1, True), (0, True), (1, False)])
def test_a_room_expires_at_its_moment(seconds: int, over: bool) -> None:
    moment = timestamp(NOW + timedelta(seconds=seconds))
    expected = f"The room was to end at {moment}." if over else None
    assert lifecycle.expired(room({"expiresAt": moment}), NOW) == expected
    assert lifecycle.expired(room(), NOW) is None


@pytest.mark.parametrize(
    ("spec", "status", "view", "closed"),
    [
        pytest.param({"persistent": False}, KNOWN, None, True, id="closed"),
        pytest.param({"persistent": False}, KNOWN, ROOM, False, id="it is there"),
        pytest.param({"persistent": False}, {}, None, False, id="it has not been there yet"),
        pytest.param({"persistent": False}, RECREATING, None, False, id="it was deleted to be made anew"),
        pytest.param({}, KNOWN, None, False, id="it is to be made again"),
    ],
)
def test_what_seems_closed(spec: dict[str, Any], status: dict[str, Any], view: RoomView | None, closed: bool) -> None:
    assert lifecycle.seems_closed(room(spec, status), view) is closed
    words = "The server closed the room." if closed else None
    assert lifecycle.over(room(spec, status), view, (), NOW) == words


EMPTY_FOR = {**KNOWN, "emptySince": timestamp(NOW - timedelta(seconds=60))}


@pytest.mark.parametrize(
    ("ttl", "status", "view", "too_long"),
    [
        pytest.param(60, EMPTY_FOR, ROOM, True, id="for its time"),
        pytest.param(61, EMPTY_FOR, ROOM, False, id="not for its time"),
        pytest.param(60, EMPTY_FOR, IN_USE, False, id="somebody is there"),
        pytest.param(60, EMPTY_FOR, ANOTHER, False, id="another room"),
        pytest.param(60, EMPTY_FOR, None, False, id="no room"),
        pytest.param(60, KNOWN, ROOM, False, id="it was not empty"),
        pytest.param(None, EMPTY_FOR, ROOM, False, id="it may be empty"),
    ],
)
def test_what_was_empty_for_too_long(
    ttl: int | None, status: dict[str, Any], view: RoomView | None, too_long: bool
) -> None:
    found = room({"ttlSecondsAfterEmpty": ttl} if ttl else {}, status)
    assert lifecycle.was_empty_too_long(found, view, NOW) is too_long
    words = f"Nobody was in the room for {ttl} s." if too_long else None
    assert lifecycle.over(found, view, (), NOW) == words
    assert lifecycle.over(found, view, [AGENT], NOW) == words, "an agent is nobody"
    assert lifecycle.over(found, view, [AGENT, PERSON], NOW) is None, "who came since the listing keeps it"


@pytest.mark.parametrize(
    ("asked", "handled", "view", "anew"),
    [
        pytest.param("1", None, ROOM, True, id="asked"),
        pytest.param("2", "1", ROOM, True, id="asked again"),
        pytest.param("1", "1", ROOM, False, id="done"),
        pytest.param("", None, ROOM, False, id="an empty value"),
        pytest.param(None, None, ROOM, False, id="not asked"),
        pytest.param("1", None, ANOTHER, False, id="it is another room already"),
    ],
)
def test_what_people_ask_to_be_made_anew(asked: str | None, handled: str | None, view: RoomView, anew: bool) -> None:
    found = room(status={**KNOWN, **({"lastHandledRecreate": handled} if handled else {})}, asked=asked)
    assert lifecycle.is_asked_anew(found, view) is anew
    assert lifecycle.is_outdated(found, view, [PERSON]) is anew, "whoever is in it"


@pytest.mark.parametrize(
    ("spec", "view", "participants", "seems", "outdated"),
    [
        pytest.param({}, ROOM, (), False, False, id="as it should be"),
        pytest.param({"maxParticipants": 3}, ROOM, (), True, True, id="other settings"),
        pytest.param({"maxParticipants": 3}, ROOM, [AGENT], True, True, id="an agent waits in it"),
        pytest.param({"maxParticipants": 3}, ROOM, [PERSON], True, False, id="somebody has just come"),
        pytest.param({"maxParticipants": 3}, IN_USE, (), False, False, id="somebody is in it"),
        pytest.param({"metadata": "new"}, ROOM, (), False, False, id="a live room can be given metadata"),
    ],
)
def test_what_is_made_anew_when_nobody_is_in_it(
    spec: dict[str, Any], view: RoomView, participants: list[ParticipantView], seems: bool, outdated: bool
) -> None:
    found = room(spec, KNOWN)
    assert lifecycle.seems_outdated(found, view) is seems
    assert lifecycle.is_outdated(found, view, participants) is outdated


@pytest.mark.parametrize(
    ("reason", "recreating"), [(reasons.RECREATING, True), (reasons.SERVER_UNREACHABLE, False), (None, False)]
)
def test_a_room_is_being_made_anew_as_long_as_its_status_says_so(reason: str | None, recreating: bool) -> None:
    status = {"conditions": [condition(reason)]} if reason else {}
    assert lifecycle.is_recreating(room(status=status)) is recreating
