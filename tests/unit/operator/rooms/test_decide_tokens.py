"""What becomes of a room's token Secrets, from what was observed alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.constants import ANNOTATION_REVOKES
from livekit_operator.rooms.decide_tokens import Removal, SecretPlan, TokensPlan, decide_tokens
from livekit_operator.rooms.decisions.entries import entries
from livekit_operator.rooms.decisions.limits import Limits
from livekit_operator.rooms.decisions.settings import AgentNames
from livekit_operator.rooms.manifests.token_secret import build_token_secret
from livekit_operator.rooms.memory import Tokens
from livekit_operator.rooms.observe_tokens import TokenSecrets
from livekit_operator.servers.manifests.keys import ServerKeys
from livekit_operator.settings import Allowed
from tests.fakes import models
from tests.fakes.manifests import API_KEY, API_SECRET

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEYS = ServerKeys(API_KEY, API_SECRET, "ws://voice-livekit.team.svc:7880", "wss://voice.example.com")
OTHER_KEY = replace(KEYS, api_secret="another-secret-of-thirty-two-characters")
OTHER_URL = replace(KEYS, external_url="wss://elsewhere.example.com")
ALICE, BOB = {"identity": "alice"}, {"identity": "bob"}
LONG = {**ALICE, "name": "ä" * 200}
NAMED = {"secretName": "support-42-shared"}
REVOKED = {**ALICE, "revoke": True}
OWN_NAMES = Allowed(secret_names=())


def room_of(*tokens: dict[str, Any]) -> MeetingRoom:
    return models.room(tokens=list(tokens))


def secret_of(token: dict[str, Any], *, keys: ServerKeys = KEYS, now: datetime = NOW) -> dict[str, Any]:
    """Return the Secret that a room of this entry has."""
    room = room_of(token)
    return build_token_secret(room, entries(room)[0], keys, now=now)


def plan_of(
    room: MeetingRoom, *owned: dict[str, Any], others: tuple[dict[str, Any], ...] = (), **seen: Any
) -> TokensPlan:
    """Return the plan for a room that has these Secrets, beside those of others."""
    wanted = entries(room)
    there = {secret["metadata"]["name"]: secret for secret in (*owned, *others)}
    named = {entry.secret_name: there[entry.secret_name] for entry in wanted if entry.secret_name in there}
    given = {"keys": KEYS, "api_secrets": (API_SECRET,), "limits": Limits.of(models.server()), "agents": AgentNames()}
    known = TokenSecrets(**{**given, **seen}, owned=owned, entries=wanted, named=named)
    return decide_tokens(room, known, NOW)


def told(plan: TokensPlan) -> list[str]:
    """Return what becomes of each entry, in words."""
    return [_told(item) for item in plan.secrets]


def _told(item: SecretPlan) -> str:
    if item.problem:
        return item.problem.reason
    if item.known is None:
        assert item.mint
        return "made"
    return "renewed" if item.mint else "kept"


@pytest.mark.parametrize(
    ("token", "known", "expected"),
    [
        pytest.param(ALICE, None, "made", id="nothing there"),
        pytest.param(ALICE, secret_of(ALICE), "kept", id="at rest"),
        pytest.param(ALICE, secret_of(ALICE, keys=OTHER_URL), "kept", id="another URL: the token stays"),
        pytest.param(ALICE, secret_of(ALICE, keys=OTHER_KEY), "renewed", id="another key"),
        pytest.param(ALICE, secret_of(ALICE, now=NOW - timedelta(hours=5)), "renewed", id="near its end"),
        pytest.param(ALICE, secret_of(ALICE, now=NOW + timedelta(hours=5)), "renewed", id="of a clock that was ahead"),
        pytest.param({**ALICE, "role": "Viewer"}, secret_of(ALICE), "renewed", id="another role"),
        pytest.param(LONG, secret_of(ALICE), reasons.SERVER_LIMIT_EXCEEDED, id="too long for the server"),
    ],
)
def test_what_becomes_of_a_secret(token: dict[str, Any], known: dict[str, Any] | None, expected: str) -> None:
    plan = plan_of(room_of(token, BOB), *([known] if known else []))
    assert told(plan) == [expected, "made"]
    assert plan.removals == ()


def test_nothing_is_decided_while_the_tokens_are_those_of_the_last_pass() -> None:
    still = Tokens((), None)
    assert plan_of(room_of(ALICE), secret_of(BOB), still=still) == TokensPlan(still=still)


def test_what_a_secret_had_of_its_entry_is_patched_away_and_nothing_of_anothers() -> None:
    before = secret_of({**REVOKED, "secret": {"labels": {"app": "web", "tier": "1"}}})
    room = room_of({**ALICE, "secret": {"labels": {"app": "web"}}})
    patch = {"metadata": {"labels": {"tier": None}, "annotations": {ANNOTATION_REVOKES: None}}}
    assert plan_of(room, before).secrets[0].patch == patch
    assert plan_of(room, others=(before,)).secrets[0].patch == {}


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param([], ["made", reasons.SECRET_NAME_TAKEN], id="the first has it"),
        pytest.param([secret_of({**BOB, **NAMED})], [reasons.SECRET_NAME_TAKEN, "kept"], id="whose token is there"),
    ],
)
def test_a_name_of_two_entries_is_one_ones(known: list[dict[str, Any]], expected: list[str]) -> None:
    plan = plan_of(room_of({**ALICE, **NAMED}, {**BOB, **NAMED}), *known)
    assert told(plan) == expected
    assert plan.removals == ()


def test_a_name_that_is_refused_today_is_kept_where_the_room_has_it_and_said() -> None:
    token = {**ALICE, "secretName": "lobby"}
    room, known = room_of(token, BOB), secret_of(token)
    plan = plan_of(room, known, allowed=OWN_NAMES)
    assert told(plan) == ["kept", "made"]
    assert plan.note is not None
    assert plan.note.startswith("Secret lobby is kept, but would not be made again: spec.tokens[0].secretName")
    for others in ((), (known,)):
        refused = plan_of(room, others=others, allowed=OWN_NAMES)
        assert told(refused) == [reasons.SECRET_NAME_NOT_ALLOWED, "made"]
        assert refused.note is None


@pytest.mark.parametrize(
    ("before", "now", "participant"),
    [
        pytest.param(ALICE, [], None, id="not asked for"),
        pytest.param(REVOKED, [BOB], "alice", id="revoked"),
        pytest.param(REVOKED, [{**REVOKED, "secretName": "support-42-new"}], None, id="the same one, elsewhere"),
    ],
)
def test_who_is_removed_before_a_secret_that_is_no_longer_wanted(
    before: dict[str, Any], now: list[dict[str, Any]], participant: str | None
) -> None:
    known = secret_of(before)
    assert plan_of(room_of(*now), known).removals == (Removal(known, participant),)


def test_nobody_is_removed_for_a_token_of_somebody_elses_key() -> None:
    known = secret_of(REVOKED, keys=OTHER_KEY)
    assert plan_of(room_of(), known).removals == (Removal(known),)
    both = plan_of(room_of(), known, api_secrets=(API_SECRET, OTHER_KEY.api_secret))
    assert both.removals == (Removal(known, "alice"),)


def test_the_secret_of_an_entry_with_a_problem_stays() -> None:
    assert plan_of(room_of(LONG), secret_of(ALICE)).removals == ()
