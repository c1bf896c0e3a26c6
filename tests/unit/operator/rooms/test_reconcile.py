"""A MeetingRoom: the room on its server, a Secret for each identity, an agent when it is needed; and its end."""

from datetime import timedelta
from typing import Any

import pytest

from livekit_operator.constants import ROOM_FINALIZER
from livekit_operator.errors import KubernetesError, ServerRefused, ServerUnreachable
from livekit_operator.moments import parse_timestamp
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition, decoded
from tests.fakes.world import World
from tests.unit.operator.rooms.steps import look, opened

ALICE_AND_BOB = [{"identity": "alice"}, {"identity": "bob", "role": "Viewer"}]


async def test_a_room_is_made_with_three_writes(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    world.forget()
    await world.reconcile("MeetingRoom", "support-42")
    assert world.written() == [
        "merge MeetingRoom/support-42",
        "create Secret/support-42-alice",
        "merge MeetingRoom/support-42/status",
    ]
    assert world.kubernetes.reads == []
    assert world.livekit.requests == [("create_room", "support-42")]
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    assert world.get("MeetingRoom", "support-42")["metadata"]["finalizers"] == [ROOM_FINALIZER]
    assert not [event for event in world.events() if "support-42" in event[2]], "10,000 rooms, 10,000 Events"
    world.forget()
    await world.reconcile("MeetingRoom", "support-42")
    assert world.written() == []
    assert world.livekit.requests == [], "and nothing is asked of the server either"


async def test_the_room_is_made_as_it_is_wanted(world: World) -> None:
    await opened(world, maxParticipants=3, emptyTimeoutSeconds=60, departureTimeoutSeconds=30, metadata="hello")
    settings = world.livekit.rooms["support-42"].settings
    assert (settings.max_participants, settings.empty_timeout, settings.departure_timeout) == (3, 60, 30)
    assert settings.metadata == "hello"
    status = world.get("MeetingRoom", "support-42")["status"]
    assert (status["roomName"], status["sid"], status["participants"]) == (
        "support-42",
        world.livekit.rooms["support-42"].sid,
        0,
    )


async def test_a_secret_for_each_identity(world: World) -> None:
    await opened(world, tokens=[*ALICE_AND_BOB, {"identity": "Éve", "secretName": "support-42-eve"}])
    for name, identity in (("support-42-alice", "alice"), ("support-42-bob", "bob"), ("support-42-eve", "Éve")):
        values = decoded(world.get("Secret", name))
        assert (values["identity"], values["room"]) == (identity, "support-42")
        assert (values["url"], values["internalUrl"]) == (
            "wss://voice.example.com",
            "ws://voice-livekit.team.svc:7880",
        )
    tokens = world.get("MeetingRoom", "support-42")["status"]["tokens"]
    assert [token["secretName"] for token in tokens] == ["support-42-alice", "support-42-bob", "support-42-eve"]
    assert "token" not in repr(tokens).replace("tokens", "")


async def test_a_revoked_identity_loses_its_secret_and_the_others_keep_theirs(world: World) -> None:
    await opened(world, tokens=ALICE_AND_BOB)
    before = world.get("Secret", "support-42-bob")
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"tokens": ALICE_AND_BOB[1:]}})
    await world.settle()
    assert world.kubernetes.peek("Secret", NAMESPACE, "support-42-alice") is None
    assert world.get("Secret", "support-42-bob") == before


async def test_a_renamed_secret_moves(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    renamed = {"spec": {"tokens": [{"identity": "alice", "secretName": "support-42-lobby"}]}}
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", renamed)
    await world.settle()
    assert world.kubernetes.peek("Secret", NAMESPACE, "support-42-alice") is None
    assert world.get("Secret", "support-42-lobby")


async def test_two_identities_with_one_secret_name_do_not_fight(world: World) -> None:
    """A given name can be the one that another identity gets by itself: no rule of the schema sees that."""
    tokens = [{"identity": "alice"}, {"identity": "bob", "secretName": "support-42-alice"}]
    await opened(world, tokens=tokens)
    assert world.ready("MeetingRoom", "support-42") == ("False", "SecretNameTaken")
    assert "spec.tokens[1]: the Secret support-42-alice is alice's" in world.message("MeetingRoom", "support-42")
    assert decoded(world.get("Secret", "support-42-alice"))["identity"] == "alice"


async def test_who_has_a_secret_keeps_it_when_another_wants_its_name(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice", "ttlSeconds": 3600}])
    tokens = [{"identity": "bob", "secretName": "support-42-alice"}, {"identity": "alice", "ttlSeconds": 3600}]
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"tokens": tokens}})
    await world.settle()
    assert "spec.tokens[0]" in world.message("MeetingRoom", "support-42")
    before = decoded(world.get("Secret", "support-42-alice"))
    world.clock.advance(3000)
    await world.reconcile("MeetingRoom", "support-42")
    after = decoded(world.get("Secret", "support-42-alice"))
    assert (after["identity"], after["token"] != before["token"]) == ("alice", True)


async def test_a_token_is_renewed_when_it_is_due(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice", "ttlSeconds": 3600}])
    before = decoded(world.get("Secret", "support-42-alice"))
    again = await world.reconcile("MeetingRoom", "support-42")
    assert again is not None
    assert 2040 <= again <= 2400, "two thirds of its life, or up to a tenth of it sooner"
    world.clock.advance(again - 1)
    await world.reconcile("MeetingRoom", "support-42")
    assert decoded(world.get("Secret", "support-42-alice")) == before
    world.clock.advance(1)
    world.forget()
    assert await world.reconcile("MeetingRoom", "support-42") == pytest.approx(again, abs=1)
    after = decoded(world.get("Secret", "support-42-alice"))
    assert after["token"] != before["token"]
    assert parse_timestamp(after["expiresAt"]) == (world.clock() + timedelta(hours=1)).replace(microsecond=0)
    assert world.written() == ["apply Secret/support-42-alice", "merge MeetingRoom/support-42/status"]


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"data": {"token": "eA=="}}, id="token"),
        pytest.param({"data": {"url": "eA=="}}, id="url"),
        pytest.param({"data": None}, id="no data"),
        pytest.param({"metadata": {"annotations": None}}, id="no annotations"),
        pytest.param({"metadata": {"annotations": {"livekit-operator.dev/expires-at": "2099-01-01"}}}, id="expiry"),
        pytest.param({"metadata": {"annotations": {"livekit-operator.dev/expires-at": "x"}}}, id="no expiry"),
    ],
)
async def test_a_token_secret_changed_by_hand_is_put_back(world: World, patch: dict[str, Any]) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    before = decoded(world.get("Secret", "support-42-alice"))
    world.kubernetes.edit("Secret", NAMESPACE, "support-42-alice", patch)
    await world.settle()
    assert decoded(world.get("Secret", "support-42-alice")) == before, "at the same second the same token is minted"


async def test_a_deleted_token_secret_is_made_again(world: World) -> None:
    await opened(world, tokens=[{"identity": "alice"}])
    world.kubernetes.vanish("Secret", NAMESPACE, "support-42-alice")
    await world.settle()
    assert world.get("Secret", "support-42-alice")


async def test_a_foreign_secret_is_left_alone(world: World) -> None:
    foreign = world.kubernetes.put(manifests.secret("support-42-alice", password="hers"))
    await opened(world, tokens=[{"identity": "alice"}])
    assert world.ready("MeetingRoom", "support-42") == ("False", "NotOwned")
    assert "support-42-alice" in world.message("MeetingRoom", "support-42")
    assert world.get("Secret", "support-42-alice") == foreign
    world.kubernetes.vanish("Secret", NAMESPACE, "support-42-alice")
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")


@pytest.mark.parametrize("how", ["close_room", "restart"])
async def test_a_room_that_the_server_lost_is_made_anew(world: World, how: str) -> None:
    await opened(world)
    sid = world.get("MeetingRoom", "support-42")["status"]["sid"]
    if how == "restart":
        world.livekit.restart()
    else:
        world.livekit.close_room("support-42")
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    assert ("MeetingRoom", (NAMESPACE, "support-42")) in world.woken
    await world.reconcile("MeetingRoom", "support-42")
    assert world.livekit.writes == [("create_room", "support-42")]
    assert world.get("MeetingRoom", "support-42")["status"]["sid"] != sid


async def test_metadata_is_changed_on_a_live_room(world: World) -> None:
    await opened(world, metadata="old")
    world.livekit.join("support-42", "alice")
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"metadata": "new"}})
    world.forget()
    await world.settle()
    assert world.livekit.writes == [("update_metadata", "support-42", "new")]
    assert world.livekit.rooms["support-42"].settings.metadata == "new"


async def test_other_settings_make_an_empty_room_anew_at_once(world: World) -> None:
    await opened(world)
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"maxParticipants": 2}})
    await world.settle()
    assert world.livekit.rooms["support-42"].settings.max_participants == 2


async def test_other_settings_wait_until_everybody_has_left(world: World) -> None:
    await opened(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"maxParticipants": 2}})
    await look(world)
    assert "alice" in world.livekit.rooms["support-42"].participants
    settings = condition(world.get("MeetingRoom", "support-42"), "SettingsApplied")
    assert (settings["status"], settings["reason"]) == ("False", "PendingRecreate")
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    world.livekit.leave("support-42", "alice")
    await look(world)
    assert world.livekit.rooms["support-42"].settings.max_participants == 2
    types = [c["type"] for c in world.get("MeetingRoom", "support-42")["status"]["conditions"]]
    assert types == ["Ready"]


async def test_other_settings_come_though_the_pass_itself_saw_the_last_one_leave(world: World) -> None:
    """A webhook comes before the listing, which then tells nothing new and wakes nobody."""
    await opened(world)
    world.livekit.join("support-42", "alice")
    await look(world)
    world.kubernetes.edit("MeetingRoom", NAMESPACE, "support-42", {"spec": {"maxParticipants": 2}})
    await look(world)
    world.livekit.leave("support-42", "alice")
    assert await world.reconcile("MeetingRoom", "support-42") == 1.0
    await world.reconcile("MeetingRoom", "support-42")
    assert world.livekit.rooms["support-42"].settings.max_participants == 2


async def test_a_room_name_of_another_namespace_cannot_be_taken(world: World) -> None:
    """A token for a room that belongs to others would let a namespace listen to their calls."""
    await world.with_server(allowedNamespaces=["guests"])
    reference = {"name": "voice", "namespace": NAMESPACE}
    world.kubernetes.put(manifests.room("support-42"))
    intruder = manifests.room(
        "x", "guests", serverRef=reference, roomName="support-42", tokens=[{"identity": "mallory"}]
    )
    world.kubernetes.put(intruder)
    await world.settle()
    assert decoded(world.get("Secret", "x-mallory", "guests"))["room"] == "guests/support-42"


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (ServerUnreachable("refused"), "ServerUnreachable"),
        (ServerRefused("resource_exhausted", "too many rooms"), "ServerRefused"),
    ],
)
async def test_a_server_that_fails_is_a_condition_and_heals(world: World, problem: Any, reason: str) -> None:
    await world.with_server()
    world.livekit.problem = problem
    world.kubernetes.put(manifests.room())
    again = await world.reconcile("MeetingRoom", "support-42")
    assert world.ready("MeetingRoom", "support-42") == ("False", reason)
    assert str(problem) in world.message("MeetingRoom", "support-42")
    assert again == 5.0
    world.livekit.problem = None
    await world.reconcile("MeetingRoom", "support-42")
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")


async def test_a_server_that_stops_and_comes_back(world: World) -> None:
    await world.with_server(signal={})
    await opened(world, tokens=[{"identity": "alice"}])
    token = world.get("Secret", "support-42-alice")
    world.stop_server()
    world.livekit.restart()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")
    assert world.get("Secret", "support-42-alice") == token, "the Secret stays as it is meanwhile"
    world.run_server()
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    assert "support-42" in world.livekit.rooms
    assert world.get("Secret", "support-42-alice") == token


async def test_a_status_that_cannot_be_written_is_an_error(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    world.kubernetes.fail("merge", "MeetingRoom", KubernetesError(500, "InternalError", "etcd"), once=True)
    with pytest.raises(KubernetesError, match="etcd"):
        await world.reconcile("MeetingRoom", "support-42")
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")


async def test_an_event_that_cannot_be_written_stops_nothing(world: World) -> None:
    world.kubernetes.fail("create", "Event", KubernetesError(403, "Forbidden", "no"))
    world.kubernetes.put(manifests.room())
    await world.reconcile("MeetingRoom", "support-42")
    assert world.ready("MeetingRoom", "support-42") == ("False", "ServerNotFound")


async def test_a_resource_of_another_version_stops_nobody_else(world: World) -> None:
    """The API server has validated it: operator and CRDs are of different versions."""
    await world.with_server()
    world.kubernetes.put(manifests.room("strange", maxParticipants="many"), checked=False)
    await opened(world)
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    assert await world.reconcile("MeetingRoom", "strange") is None
