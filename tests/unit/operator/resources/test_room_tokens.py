"""Token Secrets: the token says what it should, is renewed in time, and a changed one is noticed."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from livekit import api

from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.resources import room_tokens as build
from livekit_operator.resources.meetingroom import ServerKeys
from livekit_operator.resources.room_tokens import Entry
from tests.fakes.manifests import API_KEY, API_SECRET, decoded
from tests.unit.operator.resources import models

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
KEYS = ServerKeys(API_KEY, API_SECRET, "ws://voice-livekit.team.svc:7880", "wss://voice.example.com")


def room_with(**token: Any) -> tuple[MeetingRoom, Entry]:
    room = models.room(tokens=[{"identity": "alice", **token}])
    return room, build.entries(room)[0]


def minted(now: datetime = NOW, **token: Any) -> dict[str, Any]:
    room, wanted = room_with(**token)
    return build.build_token_secret(room, wanted, KEYS, now=now)


def due(secret: dict[str, Any] | None, at: datetime = NOW, keys: ServerKeys = KEYS, **token: Any) -> bool:
    room, wanted = room_with(**token)
    return build.token_is_due(secret, room, wanted, keys, at)


@pytest.mark.parametrize(
    ("role", "publish", "subscribe", "data"),
    [("Participant", True, True, True), ("Broadcaster", True, True, True), ("Viewer", False, True, False)],
)
def test_livekit_reads_the_token(role: str, publish: bool, subscribe: bool, data: bool) -> None:
    now = datetime.now(UTC)  # the verifier goes by the real clock
    values = decoded(minted(now, role=role))
    claims = api.TokenVerifier(API_KEY, API_SECRET).verify(values["token"])
    assert (claims.identity, claims.name) == ("alice", "alice")
    assert claims.video is not None
    assert (claims.video.room_join, claims.video.room) == (True, "support-42")
    assert (claims.video.can_publish, claims.video.can_subscribe) == (publish, subscribe)
    assert claims.video.can_publish_data is data
    assert not claims.video.room_admin
    assert not claims.video.room_create
    assert not claims.video.room_list
    assert not claims.video.can_update_own_metadata


@pytest.mark.parametrize(("key", "secret"), [(API_KEY, "x" * 40), ("APIother", API_SECRET)])
def test_other_keys_do_not_read_it(key: str, secret: str) -> None:
    token = decoded(minted(datetime.now(UTC)))["token"]
    with pytest.raises(jwt.InvalidTokenError):
        api.TokenVerifier(key, secret).verify(token)


def test_the_secret_has_both_urls_and_what_the_token_says() -> None:
    values = decoded(minted(ttlSeconds=3600))
    token = values.pop("token")
    assert values == {
        "url": "wss://voice.example.com",
        "internalUrl": "ws://voice-livekit.team.svc:7880",
        "room": "support-42",
        "identity": "alice",
        "expiresAt": "2026-03-01T13:00:00Z",
    }
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] == int((NOW + timedelta(hours=1)).timestamp())
    assert claims["nbf"] < NOW.timestamp(), "a clock that is a little behind must not refuse it"


def test_the_key_is_not_in_the_secret() -> None:
    text = repr(minted())
    assert API_SECRET not in text
    assert base64.b64encode(API_SECRET.encode()).decode() not in text


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(timedelta(0), False, id="new"),
        pytest.param(timedelta(seconds=2039), False, id="before the spread"),
        pytest.param(timedelta(seconds=2400), True, id="two thirds"),
        pytest.param(timedelta(days=9), True, id="expired long ago"),
    ],
)
def test_a_token_is_renewed_after_two_thirds(after: timedelta, expected: bool) -> None:
    assert due(minted(ttlSeconds=3600), NOW + after, ttlSeconds=3600) is expected


def test_a_token_is_due_when_its_inputs_change() -> None:
    secret = minted()
    assert not due(secret)
    assert due(secret, role="Viewer")
    assert due(secret, ttlSeconds=60)
    assert due(secret, keys=ServerKeys(API_KEY, "another-secret-of-thirty-two-characters", "ws://x", "wss://x"))
    assert due(secret, keys=ServerKeys("APIother", API_SECRET, "ws://x", "wss://x"))


def test_another_url_needs_no_other_token() -> None:
    moved = ServerKeys(API_KEY, API_SECRET, "ws://x", "wss://x")
    assert not due(minted(), keys=moved)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param({"data": {"token": base64.b64encode(b"by hand").decode()}}, id="another token"),
        pytest.param({"data": {"token": "%%%"}}, id="not base64"),
        pytest.param({"data": {"token": base64.b64encode(b"\xff\xfe").decode()}}, id="not text"),
        pytest.param({"data": {}}, id="no token"),
        pytest.param({"data": None}, id="no data"),
        pytest.param({"metadata": {"annotations": None}}, id="no annotations"),
        pytest.param({"metadata": {"annotations": {}}}, id="empty annotations"),
    ],
)
def test_a_hand_edited_token_is_noticed(damage: dict[str, Any]) -> None:
    assert due({**minted(), **damage})


@pytest.mark.parametrize("expiry", ["never", "", "2026-03-01T13:00:00"])
def test_a_hand_edited_expiry_is_noticed(expiry: str) -> None:
    secret = minted()
    secret["metadata"]["annotations"]["livekit-operator.dev/expires-at"] = expiry
    assert due(secret)


def test_a_secret_that_is_not_there_is_due() -> None:
    assert due(None)


def test_a_kept_token_stays_the_same() -> None:
    room, token = room_with()
    secret = minted()
    assert build.keep_token_secret(room, token, KEYS, secret) == secret
    assert build.expiry(secret) == NOW + timedelta(hours=6)


@pytest.mark.parametrize(
    ("room", "identity", "name"),
    [
        ("support-42", "alice", "support-42-alice"),
        ("r", "Alice Müller", None),
        ("r" * 50, "x" * 256, None),
    ],
)
def test_the_name_of_a_secret(room: str, identity: str, name: str | None) -> None:
    model = models.room(room, tokens=[{"identity": identity}])
    made = build.entries(model)[0].secret_name
    assert made == name or name is None
    assert len(made) <= 253
    assert made.startswith(f"{room}-")


def test_a_given_name_wins() -> None:
    _, entry = room_with(secretName="lobby-token")
    assert entry.secret_name == "lobby-token"
