"""Who may enter a room, as what, by which Secret, and why somebody gets no token."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.rooms.decisions import entries as module
from livekit_operator.rooms.decisions.entries import Entry, beyond_texts, entries, name_problem, problem_of
from livekit_operator.rooms.decisions.limits import Limits
from livekit_operator.rooms.decisions.settings import AgentNames
from livekit_operator.settings import Allowed
from tests.fakes import models
from tests.fakes.manifests import NAMESPACE

LIMITS = Limits.of(models.server())
ELSEWHERE: dict[str, Any] = {"serverRef": {"name": "voice", "namespace": "media"}}
EVERY_ONE = AgentNames()
ALLOWED = Allowed()


def entry(**token: Any) -> Entry:
    """Return the entry of alice."""
    (found,) = entries(models.room(tokens=[{"identity": "alice", **token}]))
    return found


@pytest.mark.parametrize(
    ("kind", "listed", "generated"),
    [("Meeting", "Participant", "Guest"), ("LiveStream", "Viewer", "Viewer"), ("VoiceAgent", "Participant", "Guest")],
)
def test_what_people_are_unless_it_is_said(kind: str, listed: str, generated: str) -> None:
    tokens = [{"identity": "alice"}, {"identity": "bob", "role": "Moderator"}]
    room = models.room(kind=kind, tokens=tokens, generateTokens={"count": 1})
    assert [one.role for one in entries(room)] == [listed, "Moderator", generated]
    room = models.room(kind=kind, generateTokens={"count": 1, "role": "Agent"})
    assert [one.role for one in entries(room)] == ["Agent"]


def test_what_an_entry_is_made_of() -> None:
    tokens = [{"identity": "alice"}, {"identity": "bob", "name": "Bob", "secretName": "support-42-x"}]
    many = {"count": 2, "identityPrefix": "guest-"}
    found = entries(models.room(tokens=tokens, generateTokens=many, expiresAt="2026-03-01T12:00:00.750Z"))
    assert [(one.identity, one.name, one.secret_name, one.path) for one in found] == [
        ("alice", "alice", "support-42-alice", "spec.tokens[0]"),
        ("bob", "Bob", "support-42-x", "spec.tokens[1]"),
        ("guest-1", "guest-1", "support-42-guest-1", "spec.generateTokens"),
        ("guest-2", "guest-2", "support-42-guest-2", "spec.generateTokens"),
    ]
    assert {one.ends for one in found} == {datetime(2026, 3, 1, 12, tzinfo=UTC)}, "tokens know whole seconds"
    assert entry().ends is None


def test_identities_that_look_alike_have_secrets_of_their_own() -> None:
    made = entries(models.room(tokens=[{"identity": "Alice"}]))[0].secret_name.removeprefix("support-42-")
    assert made.startswith("alice-")
    names = {
        one.identity: one.secret_name
        for one in entries(models.room(tokens=[{"identity": made}, {"identity": "Alice"}]))
    }
    assert names[made] == f"support-42-{made}", "a name that is one already stays"
    assert names["Alice"].startswith("support-42-alice-")
    assert len(set(names.values())) == 2


@pytest.mark.parametrize(
    ("token", "grants"),
    [
        ({"role": "Participant"}, {"canPublish": True, "canSubscribe": True, "canPublishData": True}),
        ({"role": "Viewer"}, {"canPublish": False, "canSubscribe": True, "canPublishData": False}),
        ({"role": "Guest"}, {"canPublishSources": ["camera", "microphone"]}),
        ({"role": "Agent"}, {"canUpdateOwnMetadata": True}),
        ({"role": "Moderator"}, {"roomAdmin": True}),
        ({"role": "Viewer", "grants": {"canPublish": True}}, {"canPublish": True, "canPublishData": False}),
        ({"role": "Viewer", "grants": {"canPublishSources": ["microphone"]}}, {"canPublish": True}),
        (
            {"role": "Viewer", "grants": {"canPublishSources": ["microphone"], "canPublish": False}},
            {"canPublish": False},
        ),
    ],
)
def test_what_a_token_permits(token: dict[str, Any], grants: dict[str, Any]) -> None:
    assert entry(**token).grants.items() >= {"roomJoin": True, **grants}.items()


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (None, "token"),
        ({}, "token"),
        ({"style": "Env"}, "LIVEKIT_TOKEN"),
        ({"style": "Env", "keys": {"token": "T"}}, "T"),
    ],
)
def test_the_keys_of_a_secret(secret: dict[str, Any] | None, key: str) -> None:
    assert entry(**({"secret": secret} if secret is not None else {})).keys["token"] == key
    assert entry(secret={"keys": {"token": "T"}}).keys == {"token": "T"}, "those that are named, and no others"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ({}, None),
        ({"role": "Moderator"}, None),
        ({"grants": {"roomCreate": False}}, None),
        ({"grants": {"roomCreate": True}}, reasons.GRANT_NOT_ALLOWED),
        ({"sip": {"call": False}}, None),
        ({"sip": {"admin": True}}, reasons.GRANT_NOT_ALLOWED),
    ],
)
def test_only_the_servers_namespace_gives_away_what_reaches_beyond_a_room(
    token: dict[str, Any], reason: str | None
) -> None:
    tokens = [{"identity": "alice", **token}]
    own = models.room(tokens=tokens, serverRef={"name": "voice", "namespace": NAMESPACE})
    for room, expected in (
        (models.room(tokens=tokens), None),
        (own, None),
        (models.room(tokens=tokens, **ELSEWHERE), reason),
    ):
        problem = problem_of(room, entries(room)[0], LIMITS, EVERY_ONE, ALLOWED)
        assert (problem.reason if problem else None) == expected


@pytest.mark.parametrize(
    ("token", "reason", "words"),
    [
        (
            {"roomConfiguration": {"agents": [{"agentName": "team/a"}, {"agentName": "theirs"}]}},
            reasons.AGENT_NOT_ALLOWED,
            "spec.tokens[0].roomConfiguration.agents[1].agentName: ",
        ),
        ({"metadata": "x" * 11}, reasons.SERVER_LIMIT_EXCEEDED, "spec.tokens[0].metadata has"),
        (
            {"roomConfiguration": {"agents": [{"agentName": "team/a", "metadata": "x" * 11}]}},
            reasons.SERVER_LIMIT_EXCEEDED,
            "spec.tokens[0].roomConfiguration.agents[0].metadata has",
        ),
        ({"secret": {"labels": {"a b": "c"}}}, reasons.INVALID_SECRET, "spec.tokens[0].secret: Kubernetes takes no"),
        (
            {"secret": {"annotations": {"livekit-operator.dev/x": "c"}}},
            reasons.INVALID_SECRET,
            "spec.tokens[0].secret: the label or annotation livekit-operator.dev/x is the operator's own",
        ),
        (
            {"secret": {"keys": {"token": "tls.key"}}},
            reasons.INVALID_SECRET,
            "spec.tokens[0].secret.keys: tls.key is a key of another kind",
        ),
        (
            {"secret": {"labels": {"argocd.argoproj.io/secret-type": "cluster"}}},
            reasons.NOT_ALLOWED,
            "spec.tokens[0].secret",
        ),
    ],
)
def test_why_somebody_gets_no_token(token: dict[str, Any], reason: str, words: str) -> None:
    room = models.room(tokens=[{"identity": "alice", **token}])
    problem = problem_of(room, entries(room)[0], replace(LIMITS, metadata=10), AgentNames("team/"), ALLOWED)
    assert problem is not None
    assert problem.reason == reason
    assert problem.message.startswith(words)


@pytest.mark.parametrize(("letters", "refused"), [(128, False), (129, True)])
def test_names_fit_the_server_in_bytes(letters: int, refused: bool) -> None:
    for token in ({"identity": "ï" * letters}, {"identity": "a", "name": "ñ" * letters}):
        room = models.room(tokens=[token])
        assert (problem_of(room, entries(room)[0], LIMITS, EVERY_ONE, ALLOWED) is not None) is refused


def test_a_secret_has_a_name_of_its_room_or_one_that_is_allowed() -> None:
    room = models.room(tokens=[{"identity": "alice", "secretName": "database"}, {"identity": "bob"}])
    alice, bob = entries(room)
    problem = name_problem(room, alice, ALLOWED)
    assert problem is not None
    assert problem.reason == reasons.SECRET_NAME_NOT_ALLOWED
    assert problem.message.startswith("spec.tokens[0].secretName: database")
    assert name_problem(room, alice, Allowed(secret_names=("team/*",))) is None
    assert name_problem(room, bob, ALLOWED) is None


@pytest.mark.parametrize(
    ("options", "size"),
    [
        pytest.param({"metadata": "ä" * 500}, 1000, id="metadata, in bytes"),
        pytest.param({"attributes": {"k" * 100: "v" * 900}}, 1000, id="attributes, their names too"),
        pytest.param({"secret": {"labels": {"app": "v" * 63}}}, 63, id="labels"),
        pytest.param({"secret": {"annotations": {"a" * 10: "v" * 990}}}, 1000, id="annotations, their names too"),
        pytest.param({"roomConfiguration": {"metadata": "m" * 973}}, 1000, id="the room's configuration, as JSON"),
    ],
)
def test_the_texts_of_tokens_have_a_bound_together(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], size: int
) -> None:
    wanted = entries(models.room(tokens=[{"identity": "alice"}], generateTokens={"count": 3, **options}))
    monkeypatch.setattr(module, "MAX_TEXT_BYTES", 2 * size)
    assert list(beyond_texts(wanted)) == ["guest-3"]
    monkeypatch.setattr(module, "MAX_TEXT_BYTES", 2 * size - 1)
    found = beyond_texts(wanted)
    assert list(found) == ["guest-2", "guest-3"]
    assert found["guest-2"].startswith("spec.generateTokens: ")
    assert f"have {size} bytes in each token" in found["guest-2"]


def test_a_token_that_is_too_large_leaves_the_room_to_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [{"identity": name, "metadata": "m" * size} for name, size in (("a", 6), ("b", 6), ("c", 4))]
    monkeypatch.setattr(module, "MAX_TEXT_BYTES", 10)
    assert list(beyond_texts(entries(models.room(tokens=tokens)))) == ["b"]


def test_a_name_of_a_helm_release_is_refused_where_the_spec_speaks_of_its_token() -> None:
    room = models.room("sh.helm.release.v1.x", tokens=[{"identity": "alice"}], generateTokens={"count": 1})
    problems = [name_problem(room, one, ALLOWED) for one in entries(room)]
    paths = [problem.message.split(": ")[0] for problem in problems if problem]
    assert paths == ["spec.tokens[0].secretName", "spec.generateTokens"]
