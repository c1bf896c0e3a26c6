"""Token Secrets of a room: for whom, in which form, and what happens when an entry goes or changes."""

from typing import Any

import pytest

from livekit_operator.constants import ANNOTATION_GIVEN, ROOM_FINALIZER
from livekit_operator.errors import KubernetesError, NamespaceTerminating, ServerUnreachable
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.world import World
from tests.unit.operator.rooms.entries import ROOM, claims, opened

ELSEWHERE = {"name": "voice", "namespace": NAMESPACE}


def change(world: World, **spec: Any) -> None:
    """Let the user change the spec."""
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"spec": spec})


@pytest.mark.parametrize(
    ("kind", "listed", "generated"),
    [
        ("Meeting", {"canPublish": True}, {"canPublishSources": ["camera", "microphone"]}),
        ("LiveStream", {"canPublish": False}, {"canPublish": False}),
        ("VoiceAgent", {"canPublish": True}, {"canPublishSources": ["camera", "microphone"]}),
    ],
)
async def test_the_kind_of_the_room_says_what_people_may_do(
    world: World, kind: str, listed: dict[str, Any], generated: dict[str, Any]
) -> None:
    if kind == "VoiceAgent":
        await world.with_server()
        await world.with_pool()
    await opened(world, kind=kind, tokens=[{"identity": "alice"}], generateTokens={"count": 1})
    assert listed.items() <= claims(world, "support-42-alice")["video"].items()
    assert generated.items() <= claims(world, "support-42-guest-1")["video"].items()


async def test_many_guests_are_numbered(world: World) -> None:
    many = {"count": 3, "identityPrefix": "Gast ", "role": "Viewer"}
    await opened(world, tokens=[{"identity": "alice"}], generateTokens=many)
    tokens = world.get("MeetingRoom", ROOM)["status"]["tokens"]
    assert [token["identity"] for token in tokens] == ["alice", "Gast 1", "Gast 2", "Gast 3"]
    assert len({token["secretName"] for token in tokens}) == 4
    change(world, generateTokens={**many, "count": 1})
    await world.settle()
    assert len(world.kubernetes.names("Secret")) == 3, "those of alice, the first guest and the server"


async def test_a_secret_in_the_form_that_apps_read(world: World) -> None:
    secret = {"style": "Env", "labels": {"app": "web"}, "annotations": {"example.com/a": "b"}}
    await opened(world, tokens=[{"identity": "alice", "secret": secret}])
    found = world.get("Secret", "support-42-alice")
    values = decoded(found)
    assert sorted(values) == [
        "LIVEKIT_IDENTITY",
        "LIVEKIT_INTERNAL_URL",
        "LIVEKIT_ROOM",
        "LIVEKIT_TOKEN",
        "LIVEKIT_TOKEN_EXPIRES_AT",
        "LIVEKIT_URL",
    ]
    assert (values["LIVEKIT_URL"], values["LIVEKIT_ROOM"]) == ("wss://voice.example.com", ROOM)
    assert found["metadata"]["labels"]["app"] == "web"
    assert found["metadata"]["annotations"]["example.com/a"] == "b"


async def test_what_a_secret_had_of_its_entry_goes_with_it(world: World) -> None:
    """A Secret that was created is not only the applier's: applying would leave all of it."""
    secret = {"labels": {"app": "web", "tier": "1"}, "annotations": {"a": "b"}}
    await opened(world, tokens=[{"identity": "alice", "revoke": True, "secret": secret}])
    patch = {"metadata": {"labels": {"theirs": "1"}, "annotations": {"theirs": "2"}}}
    world.kubernetes.edit("Secret", NAMESPACE, "support-42-alice", patch)
    before = decoded(world.get("Secret", "support-42-alice"))["token"]
    change(world, tokens=[{"identity": "alice", "secret": {"keys": {"token": "T"}, "labels": {"app": "web"}}}])
    await merging(world)
    found = world.get("Secret", "support-42-alice")
    assert decoded(found) == {"T": before}
    assert {"app", "theirs"} <= found["metadata"]["labels"].keys()
    assert "tier" not in found["metadata"]["labels"]
    assert "a" not in found["metadata"]["annotations"]
    assert "livekit-operator.dev/revokes" not in found["metadata"]["annotations"]


async def merging(world: World) -> None:
    """Look at the room while the API server leaves at an apply what others put there, or we did by another verb."""
    whole = world.kubernetes.apply

    async def apply(manifest: dict[str, Any]) -> dict[str, Any]:
        metadata = manifest["metadata"]
        known = world.kubernetes.peek("Secret", NAMESPACE, metadata["name"])
        if manifest["kind"] != "Secret" or known is None:
            return await whole(manifest)
        kept = {
            part: {**(known["metadata"].get(part) or {}), **(metadata.get(part) or {})}
            for part in ("labels", "annotations")
        }
        data = {**known["data"], **manifest["data"]}
        return await whole({**manifest, "data": data, "metadata": {**metadata, **kept}})

    world.kubernetes.apply = apply  # type: ignore[method-assign]
    await world.settle()
    world.kubernetes.apply = whole  # type: ignore[method-assign]


async def test_a_record_changed_by_hand_is_put_back(world: World) -> None:
    secret = {"labels": {"app": "web"}}
    await opened(world, tokens=[{"identity": "alice", "secret": secret}])
    before = world.get("Secret", "support-42-alice")
    for text in ("{", "1", "[1]", None):
        patch = {"metadata": {"annotations": {ANNOTATION_GIVEN: text}}}
        world.kubernetes.edit("Secret", NAMESPACE, "support-42-alice", patch)
        await world.settle()
        assert world.get("Secret", "support-42-alice")["metadata"]["annotations"] == before["metadata"]["annotations"]


@pytest.mark.parametrize("revoke", [True, False])
async def test_who_is_taken_off_the_list_leaves_the_room_when_that_was_asked_for(world: World, revoke: bool) -> None:
    await opened(world, tokens=[{"identity": "alice", "revoke": revoke}, {"identity": "bob", "revoke": True}])
    for identity in ("alice", "bob"):
        world.livekit.join(ROOM, identity)
    change(world, tokens=[{"identity": "bob", "revoke": True}])
    await world.settle()
    assert sorted(world.livekit.rooms[ROOM].participants) == (["bob"] if revoke else ["alice", "bob"])
    assert world.kubernetes.peek("Secret", NAMESPACE, "support-42-alice") is None


async def test_a_revoked_participant_is_removed_though_the_server_did_not_answer_at_first(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice", "revoke": True}])
    world.livekit.join(ROOM, "alice")
    change(world, tokens=[])
    world.livekit.problem = ServerUnreachable("refused")
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "ServerUnreachable")
    world.livekit.problem = None
    await world.settle()
    assert world.livekit.rooms[ROOM].participants == {}
    assert world.kubernetes.peek("Secret", NAMESPACE, "support-42-alice") is None


async def test_another_secret_of_the_same_identity_removes_nobody(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice", "revoke": True}])
    world.livekit.join(ROOM, "alice")
    change(world, tokens=[{"identity": "alice", "revoke": True, "secretName": "elsewhere"}])
    await world.settle()
    assert "alice" in world.livekit.rooms[ROOM].participants
    assert world.kubernetes.peek("Secret", NAMESPACE, "support-42-alice") is None


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ({"grants": {"roomCreate": True}}, "grants.roomCreate"),
        ({"grants": {"roomList": True, "roomRecord": True}}, "grants.roomList, grants.roomRecord"),
        ({"grants": {"agent": True}}, "grants.agent"),
        ({"grants": {"ingressAdmin": True}}, "grants.ingressAdmin"),
        ({"grants": {"destinationRoom": "theirs"}}, "grants.destinationRoom"),
        ({"sip": {"call": True}}, "sip.call"),
        ({"sip": {"admin": True}}, "sip.admin"),
    ],
)
async def test_what_reaches_beyond_the_room_is_the_servers_namespaces_to_give(
    world: World, token: dict[str, Any], words: str
) -> None:
    await world.with_server(allowedNamespaces=["guests"])
    tokens = [{"identity": "mallory", **token}, {"identity": "alice", "role": "Moderator"}]
    for namespace in ("guests", NAMESPACE):
        world.kubernetes.put(manifests.room(namespace=namespace, serverRef=ELSEWHERE, tokens=tokens))
    await world.settle()
    assert world.ready("MeetingRoom", ROOM, "guests") == ("False", "GrantNotAllowed")
    assert words in world.message("MeetingRoom", ROOM, "guests")
    assert world.kubernetes.names("Secret", "guests") == ["support-42-alice"]
    assert claims(world, "support-42-alice", namespace="guests")["video"]["room"] == "guests/support-42"
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")


@pytest.mark.parametrize(
    ("limits", "token", "reason", "words"),
    [
        ({}, {"identity": "ä" * 200}, "ServerLimitExceeded", "spec.tokens[0].identity has 400 bytes"),
        ({}, {"identity": "a", "name": "ä" * 200}, "ServerLimitExceeded", "spec.tokens[0].name has 400 bytes"),
        ({"metadataBytes": 2}, {"identity": "a", "metadata": "abc"}, "ServerLimitExceeded", "tokens[0].metadata has 3"),
        (
            {"attributesBytes": 2},
            {"identity": "a", "attributes": {"k": "vw"}},
            "ServerLimitExceeded",
            "tokens[0].attributes have 3 bytes",
        ),
        (
            {"metadataBytes": 2},
            {"identity": "a", "roomConfiguration": {"metadata": "abc"}},
            "ServerLimitExceeded",
            "roomConfiguration.metadata has 3",
        ),
        (
            {"attributesBytes": 2},
            {"identity": "a", "roomConfiguration": {"agents": [{"agentName": "x", "attributes": {"k": "vw"}}]}},
            "ServerLimitExceeded",
            "roomConfiguration.agents[0].attributes have 3",
        ),
        ({}, {"identity": "a", "secret": {"labels": {"a b": "c"}}}, "InvalidSecret", "named 'a b'"),
        ({}, {"identity": "a", "secret": {"annotations": {"/x": "c"}}}, "InvalidSecret", "named '/x'"),
        (
            {},
            {"identity": "a", "secret": {"labels": {"app.kubernetes.io/managed-by": "x"}}},
            "InvalidSecret",
            "app.kubernetes.io/managed-by is the operator's own",
        ),
        (
            {},
            {"identity": "a", "secret": {"annotations": {"livekit-operator.dev/expires-at": "x"}}},
            "InvalidSecret",
            "is the operator's own",
        ),
    ],
)
async def test_what_would_be_refused_is_named_and_costs_the_others_nothing(
    world: World, limits: dict[str, int], token: dict[str, Any], reason: str, words: str
) -> None:
    await world.with_server(limits=limits)
    await opened(world, tokens=[token, {"identity": "bob"}])
    assert world.ready("MeetingRoom", ROOM) == ("False", reason)
    assert words in world.message("MeetingRoom", ROOM)
    assert world.get("Secret", "support-42-bob")


@pytest.mark.parametrize(
    "error",
    [
        KubernetesError(422, "Invalid", "metadata.labels: Invalid value"),
        KubernetesError(403, "Forbidden", "exceeded quota: secrets"),
    ],
)
async def test_a_secret_that_the_api_server_refuses_costs_the_others_nothing(
    world: World, error: KubernetesError
) -> None:
    await world.with_server()
    world.kubernetes.fail("create", "Secret", error, once=True)
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}, {"identity": "bob"}]))
    again = await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "InvalidSecret")
    assert "spec.tokens[0]: The API server refused the Secret" in world.message("MeetingRoom", ROOM)
    assert world.get("Secret", "support-42-bob")
    assert ROOM in world.livekit.rooms
    assert again is not None
    assert again <= 30
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")


async def test_a_name_that_is_taken_costs_a_new_room_one_more_look(world: World) -> None:
    foreign = world.kubernetes.put(manifests.secret("support-42-alice", mine="yes"))
    await world.with_server()
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    world.forget()
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "NotOwned")
    assert world.get("Secret", "support-42-alice") == foreign
    world.forget()
    await world.reconcile("MeetingRoom", ROOM)
    assert world.written() == [], "later it is looked at before anything is tried"


async def test_another_url_reaches_the_secret_and_the_token_stays(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    before = decoded(world.get("Secret", "support-42-alice"))
    patch = {"spec": {"signal": {"externalUrl": "wss://elsewhere.example.com"}}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", patch)
    await world.settle()
    after = decoded(world.get("Secret", "support-42-alice"))
    assert (after["url"], after["token"]) == ("wss://elsewhere.example.com", before["token"])


async def test_a_room_in_a_namespace_that_goes_gets_no_secret_and_no_noise(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    world.kubernetes.fail("create", "Secret", NamespaceTerminating(403, "Forbidden", "being terminated"), once=True)
    before = world.events()
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "NamespaceTerminating")
    assert world.events() == before


async def test_a_room_that_is_deleted_in_the_foreground_keeps_what_kubernetes_waits_for(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    finalizers = ["foregroundDeletion", ROOM_FINALIZER]
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"metadata": {"finalizers": finalizers}})
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, ROOM)
    world.kubernetes.vanish("Secret", NAMESPACE, "support-42-alice")
    await world.settle()
    assert world.livekit.rooms == {}
    assert world.kubernetes.names("Secret") == ["voice-livekit-keys"], "nothing is made anew meanwhile"
    assert world.get("MeetingRoom", ROOM)["metadata"]["finalizers"] == ["foregroundDeletion"]


async def test_the_url_beside_a_token_is_what_the_server_has_and_not_what_its_status_says(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    forged = {"externalUrl": "wss://elsewhere.example.com"}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", forged, status=True)
    await world.reconcile("MeetingRoom", "support-42")
    assert decoded(world.get("Secret", "support-42-alice"))["url"] == "wss://voice.example.com"
    changed = {"spec": {"signal": {"externalUrl": "wss://other.example.com"}}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", changed)
    await world.settle()
    assert decoded(world.get("Secret", "support-42-alice"))["url"] == "wss://other.example.com"


async def test_a_url_that_a_status_says_before_it_is_true_is_followed_when_it_is(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    url = "wss://other.example.com"
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"externalUrl": url}, status=True)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"signal": {"externalUrl": url}}})
    world.woken.clear()
    await world.reconcile("LiveKitServer", "voice")
    assert ("MeetingRoom", (NAMESPACE, "support-42")) in world.woken
