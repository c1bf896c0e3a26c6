"""Token Secrets: the token says what it should, is renewed in time, and a changed one is noticed."""

import base64
import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, get_args

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import api

from livekit_operator.api.common import NAME_PATTERN
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.api.tokens import Role
from livekit_operator.rooms.decisions.entries import Entry, entries
from livekit_operator.rooms.manifests import token_secret as build
from livekit_operator.servers.manifests.keys import ServerKeys
from tests.fakes import models
from tests.fakes.manifests import API_KEY, API_SECRET, decoded

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
KEYS = ServerKeys(API_KEY, API_SECRET, "ws://voice-livekit.team.svc:7880", "wss://voice.example.com")


def room_with(**token: Any) -> tuple[MeetingRoom, Entry]:
    room = models.room(tokens=[{"identity": "alice", **token}])
    return room, entries(room)[0]


def minted(now: datetime = NOW, **token: Any) -> dict[str, Any]:
    room, wanted = room_with(**token)
    return build.build_token_secret(room, wanted, KEYS, now=now)


def due(secret: dict[str, Any] | None, at: datetime = NOW, keys: ServerKeys = KEYS, **token: Any) -> bool:
    room, wanted = room_with(**token)
    return build.token_is_due(secret, room, wanted, keys, at)


MEMBER = {"can_publish": True, "can_subscribe": True, "can_publish_data": True}
ROLES: dict[str, dict[str, Any]] = {
    "Participant": MEMBER,
    "Broadcaster": MEMBER,
    "Viewer": {"can_publish": False, "can_subscribe": True, "can_publish_data": False},
    "Guest": {**MEMBER, "can_publish_sources": ["camera", "microphone"]},
    "Agent": {**MEMBER, "can_update_own_metadata": True},
    "Moderator": {**MEMBER, "room_admin": True},
}


def understood(**token: Any) -> api.access_token.Claims:
    """Return a token as LiveKit's own library reads it."""
    now = datetime.now(UTC)  # the verifier goes by the real clock
    return api.TokenVerifier(API_KEY, API_SECRET).verify(decoded(minted(now, **token))["token"])


@pytest.mark.parametrize("role", ROLES)
def test_a_role_permits_this_and_no_more(role: str) -> None:
    claims = understood(role=role)
    assert (claims.identity, claims.name) == ("alice", "alice")
    assert claims.video == api.VideoGrants(room_join=True, room="support-42", **ROLES[role])
    assert claims.kind == ("agent" if role == "Agent" else "")
    assert claims.sip == api.access_token.SIPGrants()


def test_every_role_is_tried() -> None:
    assert set(get_args(Role)) == ROLES.keys()


def test_every_grant_of_livekit_can_be_given() -> None:
    """Whatever the library knows of, the API has a field for, and it arrives."""
    given: dict[str, Any] = {"canPublishSources": ["screen_share"], "destinationRoom": "other"}
    given |= dict.fromkeys(("roomCreate", "roomList", "roomRecord", "roomAdmin", "ingressAdmin", "agent"), True)
    given |= dict.fromkeys(("canUpdateOwnMetadata", "canSubscribeMetrics", "canManageAgentSession"), True)
    given |= dict.fromkeys(("hidden", "recorder"), True)
    given |= dict.fromkeys(("roomJoin", "canPublish", "canSubscribe", "canPublishData"), False)
    claims = understood(grants=given, sip={"admin": True, "call": True})
    expected = {api.access_token.camel_to_snake(name): value for name, value in given.items()}
    assert claims.video == api.VideoGrants(room="support-42", **expected)
    assert {item.name for item in fields(api.VideoGrants)} == {*expected, "room"}
    assert claims.sip == api.access_token.SIPGrants(admin=True, call=True)


@pytest.mark.parametrize(
    ("token", "grants"),
    [
        ({"role": "Viewer", "grants": {"canPublishSources": ["microphone"]}}, {"can_publish": True}),
        ({"role": "Guest", "grants": {"canPublishSources": []}}, {"can_publish": True, "can_publish_sources": []}),
        ({"role": "Guest", "grants": {"canPublish": False}}, {"can_publish": False}),
        ({"role": "Moderator", "grants": {"roomAdmin": False}}, {"room_admin": False}),
    ],
)
def test_grants_go_before_the_role(token: dict[str, Any], grants: dict[str, Any]) -> None:
    claims = understood(**token)
    assert claims.video is not None
    assert grants.items() <= vars(claims.video).items()


def test_what_others_see_of_a_participant() -> None:
    claims = understood(name="Alice", metadata="m", attributes={"team": "blue"})
    assert (claims.name, claims.metadata, claims.attributes) == ("Alice", "m", {"team": "blue"})


def test_a_room_that_its_first_participant_makes() -> None:
    configuration = {
        "preset": "studio",
        "maxParticipants": 3,
        "emptyTimeoutSeconds": 10,
        "departureTimeoutSeconds": 20,
        "metadata": "m",
        "playoutDelay": {"minMs": 1, "maxMs": 2},
        "syncStreams": True,
        "agents": [{"agentName": "desk", "metadata": "x", "attributes": {"k": "v"}, "deployment": "blue"}],
    }
    claims = understood(roomConfiguration=configuration)
    assert claims.room_preset == "studio"
    assert claims.room_config == api.RoomConfiguration(
        max_participants=3,
        empty_timeout=10,
        departure_timeout=20,
        metadata="m",
        min_playout_delay=1,
        max_playout_delay=2,
        sync_streams=True,
        agents=[
            api.RoomAgentDispatch(agent_name="desk", metadata="x", attributes={"k": "v"}, deployment="blue"),
        ],
    )


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


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        pytest.param(timedelta(seconds=60), False, id="servers take it all the same"),
        pytest.param(timedelta(seconds=61), True, id="it begins too late for servers that are behind as well"),
        pytest.param(timedelta(hours=9), True, id="it begins in hours"),
    ],
)
@pytest.mark.parametrize("token", [{}, {"notBefore": "2026-02-01T00:00:00Z"}])
def test_a_token_of_a_clock_that_was_ahead_is_due(ahead: timedelta, expected: bool, token: dict[str, Any]) -> None:
    assert due(minted(NOW + ahead, **token), NOW, **token) is expected


def test_a_token_that_begins_later_is_not_of_a_clock_that_was_ahead() -> None:
    later: dict[str, Any] = {"notBefore": "2026-03-02T12:00:00Z"}
    assert not due(minted(NOW + timedelta(hours=9), **later), NOW, **later)


def test_a_token_is_due_when_its_inputs_change() -> None:
    secret = minted()
    assert not due(secret)
    for other in (
        {"role": "Viewer"},
        {"ttlSeconds": 60},
        {"grants": {"hidden": True}},
        {"sip": {"call": True}},
        {"name": "Alice"},
        {"metadata": "m"},
        {"attributes": {"k": "v"}},
        {"notBefore": "2026-03-01T12:00:00Z"},
        {"roomConfiguration": {"syncStreams": True}},
    ):
        assert due(secret, **other), other
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


@pytest.mark.parametrize("expiry", ["never", "", "2026-03-01T13:00:00", "2099-01-01T00:00:00Z"])
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
    made = entries(model)[0].secret_name
    assert made == name or name is None
    assert len(made) <= 253
    assert made.startswith(f"{room}-")


def test_a_given_name_wins() -> None:
    _, entry = room_with(secretName="lobby-token")
    assert entry.secret_name == "lobby-token"


@pytest.mark.parametrize(
    ("not_before", "begins", "ends"),
    [
        ("2026-03-01T13:00:00Z", "13:00:00", "14:00:00"),
        ("2026-03-01T13:00:00.9+01:00", "12:00:00", "13:00:00"),
        ("2020-01-01T00:00:00Z", "11:59:00", "13:00:00"),
    ],
)
def test_a_token_that_begins_later_lives_as_long(not_before: str, begins: str, ends: str) -> None:
    token = decoded(minted(ttlSeconds=3600, notBefore=not_before))["token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    moments = [datetime.fromtimestamp(claims[name], UTC).strftime("%H:%M:%S") for name in ("nbf", "exp")]
    assert moments == [begins, ends]


def test_a_fresh_token_passes_on_a_server_whose_clock_is_two_minutes_behind() -> None:
    claims = jwt.decode(decoded(minted())["token"], options={"verify_signature": False})
    leeway = timedelta(minutes=1)  # livekit/protocol auth/verifier.go
    assert claims["nbf"] <= (NOW - timedelta(minutes=2) + leeway).timestamp()


def test_renewals_of_tokens_that_were_made_together_are_spread_and_never_late() -> None:
    """10,000 rooms applied at once: in no minute of 36 more than twice its share."""
    expires = NOW + timedelta(hours=6)
    due_at = []
    for n in range(10_000):
        room = models.room()
        room = room.model_copy(update={"metadata": room.metadata.model_copy(update={"uid": f"uid-{n}"})})
        moment = build.renewal_time(room, ALICE, expires)
        assert moment is not None
        due_at.append((moment - NOW).total_seconds())
    assert min(due_at) > 0.56 * 21600
    assert max(due_at) <= 2 / 3 * 21600
    minutes = [int(moment // 60) for moment in due_at]
    assert max(minutes.count(minute) for minute in set(minutes)) < 2 * 10_000 / 36


ALICE = room_with(ttlSeconds=21600)[1]

identities = st.text(
    alphabet=st.one_of(
        st.sampled_from("aAbB01-._ "), st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\x7f")
    ),
    min_size=1,
    max_size=256,
)


@given(st.lists(identities, min_size=1, max_size=8, unique=True), st.sampled_from(["r", "support-42", "r" * 50]))
def test_each_identity_has_a_secret_of_its_own_whatever_it_is(names: list[str], room: str) -> None:
    model = models.room(room, tokens=[{"identity": name} for name in names])
    found = entries(model)
    secrets = [entry.secret_name for entry in found]
    assert len(set(secrets)) == len(names)
    for name in secrets:
        assert re.fullmatch(NAME_PATTERN, name)
        assert len(name) <= 253
        assert name.startswith(f"{room}-")
    assert secrets == [entry.secret_name for entry in entries(model)], "the same at each look"


@given(identities)
def test_an_identity_that_looks_like_the_name_made_for_another_one_costs_it_only_its_name(identity: str) -> None:
    room = "r" * 50
    [made] = entries(models.room(room, tokens=[{"identity": identity}]))
    twin = made.secret_name.removeprefix(f"{room}-")
    if twin == identity:
        return
    one, other = entries(models.room(room, tokens=[{"identity": identity}, {"identity": twin}]))
    assert other.secret_name == f"{room}-{twin}"
    assert one.secret_name != other.secret_name
    assert re.fullmatch(NAME_PATTERN, one.secret_name)
    assert len(one.secret_name) <= 253


@given(identities, identities)
def test_a_token_says_whatever_the_identity_and_the_room_are(identity: str, room: str) -> None:
    model = models.room(roomName=room, tokens=[{"identity": identity}])
    [entry] = entries(model)
    values = decoded(build.build_token_secret(model, entry, KEYS, now=datetime.now(UTC)))
    claims = api.TokenVerifier(API_KEY, API_SECRET).verify(values["token"])
    assert claims.video is not None
    assert (claims.identity, claims.video.room) == (identity, room)
    assert (values["identity"], values["room"]) == (identity, room)


@given(st.integers(min_value=60, max_value=31536000), identities, st.floats(min_value=0, max_value=1))
def test_a_token_is_never_renewed_late_nor_more_than_a_little_early(ttl: int, identity: str, share: float) -> None:
    model = models.room(tokens=[{"identity": identity, "ttlSeconds": ttl}])
    [entry] = entries(model)
    secret = build.build_token_secret(model, entry, KEYS, now=NOW)
    # The expiry in the annotation is in whole seconds, and so is this moment.
    is_due = build.token_is_due(secret, model, entry, KEYS, NOW + timedelta(seconds=int(ttl * share)))
    if int(ttl * share) >= ttl * 2 / 3:
        assert is_due
    if int(ttl * share) < int(ttl * 0.56):
        assert not is_due


def test_generated_identities_are_numbered_and_apart() -> None:
    model = models.room(generateTokens={"count": 500, "identityPrefix": "Gast Nr. "})
    found = entries(model)
    assert [entry.identity for entry in found[:2]] == ["Gast Nr. 1", "Gast Nr. 2"]
    assert len({entry.secret_name for entry in found}) == 500
    assert all(a.secret_name != b.secret_name for a, b in pairwise(found))


def test_a_given_name_that_another_identity_has_by_itself_is_not_resolved_in_silence() -> None:
    tokens = [{"identity": "alice"}, {"identity": "bob", "secretName": "support-42-alice"}]
    assert [entry.secret_name for entry in entries(models.room(tokens=tokens))] == ["support-42-alice"] * 2


LABELLED = {"secret": {"labels": {"app": "web", "tier": "1"}, "annotations": {"a": "b"}}}
FORMS: list[dict[str, Any]] = [{}, {"revoke": True}, {"secret": {"style": "Env"}}, {"revoke": True, **LABELLED}]


@pytest.mark.parametrize("before", FORMS)
@pytest.mark.parametrize("after", FORMS)
def test_what_is_left_over_is_what_the_new_secret_has_not(before: dict[str, Any], after: dict[str, Any]) -> None:
    known, desired = minted(**before), minted(**after)
    room, wanted = room_with(**after)
    patch = build.left_over(room, wanted, known)
    assert set(patch.get("data", {})) == known["data"].keys() - desired["data"].keys()
    for part in ("labels", "annotations"):
        gone = known["metadata"][part].keys() - desired["metadata"][part].keys()
        assert set(patch.get("metadata", {}).get(part, {})) == gone
