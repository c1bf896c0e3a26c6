"""The room on its server: whose it is, what it is made with, when it is made anew, and when it ends."""

from typing import Any

import pytest

from livekit_operator.constants import ANNOTATION_RECREATE
from livekit_operator.errors import ServerUnreachable
from livekit_operator.rooms.decisions.settings import NEVER_SECONDS
from livekit_operator.views import AgentRequest, RoomSettings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition
from tests.fakes.world import World
from tests.unit.operator.rooms.life import ROOM, change, look, opened, settings, sid


def pending(world: World) -> bool:
    """Return whether settings wait for the room to be made anew."""
    return "SettingsApplied" in [c["type"] for c in world.get("MeetingRoom", ROOM)["status"]["conditions"]]


async def test_everything_that_a_server_honours_is_asked_for(world: World) -> None:
    await world.with_server(extraConfig={"room": {"room_configurations": {"studio": {"max_participants": 7}}}})
    world.livekit.presets["studio"] = RoomSettings("", 7, 0, 0, "of the preset")
    agents = [{"agentName": "scribe", "metadata": "m", "attributes": {"b": "2", "a": "1"}, "deployment": "blue"}]
    await opened(
        world, preset="studio", playoutDelay={"minMs": 100, "maxMs": 200}, syncStreams=True, agentDispatches=agents
    )
    assert settings(world) == RoomSettings(
        ROOM,
        7,
        NEVER_SECONDS,
        NEVER_SECONDS,
        "of the preset",
        "studio",
        100,
        200,
        True,
        (AgentRequest("scribe", "m", (("a", "1"), ("b", "2")), "blue"),),
    )
    assert not pending(world), "what the preset says is as it should be"


@pytest.mark.parametrize("config", [{}, {"room": {}}, {"room": {"room_configurations": {"other": {}}}}, {"room": 1}])
async def test_a_preset_that_the_server_has_not_is_told(world: World, config: dict[str, Any]) -> None:
    await world.with_server()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"extraConfig": config}})
    world.kubernetes.put(manifests.room(preset="studio"))
    world.forget()
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "PresetNotFound")
    assert "has no studio in spec.extraConfig.room.room_configurations" in world.message("MeetingRoom", ROOM)
    assert world.livekit.requests == []


async def test_a_preset_that_the_server_does_not_know_yet_is_told(world: World) -> None:
    """Its configuration says so, and the servers that run are of the one before."""
    await world.with_server(extraConfig={"room": {"room_configurations": {"studio": {}}}})
    world.kubernetes.put(manifests.room(preset="studio"))
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "ServerRefused")
    assert "unknown room configuration" in world.message("MeetingRoom", ROOM)
    world.livekit.presets["studio"] = RoomSettings("", 0, 0, 0, "")
    await world.settle()
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")


@pytest.mark.parametrize("wrong", [{"preset": "nope"}, {"metadata": "x" * 11}])
async def test_a_room_goes_on_when_it_is_to_be_what_the_server_refuses(world: World, wrong: dict[str, str]) -> None:
    await world.with_server(limits={"metadataBytes": 10})
    await opened(world, metadata="right", tokens=[{"identity": "alice", "ttlSeconds": 600}])
    before, token = sid(world), world.get("Secret", "support-42-alice")
    change(world, **wrong)
    await world.settle()
    world.clock.advance(400)
    await look(world)
    assert world.ready("MeetingRoom", ROOM)[0] == "False"
    assert (sid(world), settings(world).metadata) == (before, "right")
    assert world.get("Secret", "support-42-alice") != token, "its tokens are renewed all the same"
    change(world, **dict.fromkeys(wrong))
    await world.settle()
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")


@pytest.mark.parametrize(("kind", "limit"), [("Meeting", 10), ("VoiceAgent", 10), ("LiveStream", 0)])
async def test_how_many_come_is_a_matter_of_the_kind(world: World, kind: str, limit: int) -> None:
    await opened(world, kind=kind)
    assert settings(world).max_participants == limit


async def test_a_limit_of_the_server_is_no_reason_to_make_rooms_anew_for_ever(world: World) -> None:
    world.livekit.defaults = RoomSettings("", 5, 300, 20, "")
    await opened(world, maxParticipants=0)
    assert settings(world).max_participants == 5
    assert not pending(world)


@pytest.mark.parametrize(
    "changed",
    [
        {"playoutDelay": {"minMs": 1, "maxMs": 2}},
        {"syncStreams": True},
        {"agentDispatches": [{"agentName": "scribe"}]},
        {"preset": "studio"},
        {"maxParticipants": 0},
        {"emptyTimeoutSeconds": 9},
        {"persistent": False},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_what_a_live_room_cannot_be_given_waits_until_it_is_empty(world: World, changed: dict[str, Any]) -> None:
    await world.with_server(extraConfig={"room": {"room_configurations": {"studio": {}}}})
    world.livekit.presets["studio"] = RoomSettings("", 0, 0, 0, "")
    await opened(world)
    before = sid(world)
    world.livekit.join(ROOM, "alice")
    change(world, **changed)
    await look(world)
    assert pending(world)
    assert sid(world) == before
    world.livekit.leave(ROOM, "alice")
    await look(world)
    assert not pending(world)
    assert sid(world) != before


async def test_metadata_that_the_spec_does_not_speak_of_is_left_to_apps(world: World) -> None:
    await opened(world)
    await world.livekit.update_metadata(ROOM, "of an app")
    world.forget()
    await world.settle()
    assert world.livekit.writes == []


async def test_people_can_ask_for_the_room_to_be_made_anew(world: World) -> None:
    await opened(world)
    before = sid(world)
    world.livekit.join(ROOM, "alice")
    change(world, maxParticipants=3)
    await look(world)
    assert ANNOTATION_RECREATE in condition(world.get("MeetingRoom", ROOM), "SettingsApplied")["message"]
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"metadata": {"annotations": {ANNOTATION_RECREATE: "1"}}})
    await look(world)
    assert settings(world).max_participants == 3
    assert sid(world) != before
    after = sid(world)
    world.livekit.join(ROOM, "alice")
    await look(world)
    assert sid(world) == after, "each value counts once"
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"metadata": {"annotations": {ANNOTATION_RECREATE: "2"}}})
    await look(world)
    assert sid(world) != after
    assert world.get("MeetingRoom", ROOM)["status"]["lastHandledRecreate"] == "2"


async def test_a_new_resource_is_not_made_twice_by_an_annotation_it_came_with(world: World) -> None:
    await world.with_server()
    manifest = manifests.room()
    manifest["metadata"]["annotations"] = {ANNOTATION_RECREATE: "1"}
    world.kubernetes.put(manifest)
    world.forget()
    await world.settle()
    assert world.livekit.writes == [("create_room", ROOM)]


async def test_a_deleted_room_that_the_server_still_hands_out_is_not_taken_for_the_new_one(world: World) -> None:
    await opened(world)
    before = sid(world)
    world.livekit.lingering = 2
    change(world, maxParticipants=3)
    again = await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "Recreating")
    assert again == 1.0
    await look(world)
    assert (world.ready("MeetingRoom", ROOM), sid(world)) == (("False", "Recreating"), before)
    await look(world)
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")
    assert sid(world) != before
    assert world.livekit.asked("delete_room") == 1


async def test_a_room_that_lives_on_under_its_id_is_ready(world: World) -> None:
    """Over Redis another server takes a lost one's room over, and its id stays."""
    await opened(world, playoutDelay={"minMs": 1, "maxMs": 2})
    before = sid(world)
    world.context.servers[NAMESPACE, "voice"].rooms.mark_unverified()
    world.forget()
    await world.reconcile("MeetingRoom", ROOM)
    assert world.livekit.writes == [("create_room", ROOM)]
    assert (world.ready("MeetingRoom", ROOM), sid(world)) == (("True", "Ready"), before)
    assert not pending(world)


async def test_a_room_of_others_is_left_alone_until_it_is_to_be_taken_over(world: World) -> None:
    await world.with_server()
    world.livekit.start_room(RoomSettings(ROOM, 4, 300, 20, "theirs"))
    world.livekit.join(ROOM, "alice")
    await world.reconcile("LiveKitServer", "voice")
    await opened(world, tokens=[{"identity": "mallory"}])
    assert world.ready("MeetingRoom", ROOM) == ("False", "RoomExists")
    assert "finalizers" not in world.get("MeetingRoom", ROOM)["metadata"]
    assert world.kubernetes.names("Secret") == ["voice-livekit-keys"]
    assert world.livekit.writes == []
    change(world, adopt=True)
    await world.settle()
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")
    assert "alice" in world.livekit.rooms[ROOM].participants
    assert settings(world).metadata == "theirs"
    assert pending(world)
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, ROOM)
    await world.settle()
    assert world.livekit.rooms == {}


@pytest.mark.parametrize(
    ("theirs", "callers"),
    [
        pytest.param(RoomSettings(ROOM, 0, 300, 20, "theirs"), 0, id="as no resource makes it"),
        pytest.param(RoomSettings(ROOM, 10, NEVER_SECONDS, NEVER_SECONDS, ""), 1, id="with somebody in it"),
    ],
)
async def test_a_room_of_others_that_is_not_listed_yet_is_left_alone_too(
    world: World, theirs: RoomSettings, callers: int
) -> None:
    await world.with_server()
    world.livekit.start_room(theirs)
    for n in range(callers):
        world.livekit.join(ROOM, f"p{n}")
    world.kubernetes.put(manifests.room(metadata="ours", tokens=[{"identity": "mallory"}]))
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "RoomExists")
    assert not world.get("MeetingRoom", ROOM)["metadata"]["finalizers"]
    assert world.kubernetes.names("Secret") == ["voice-livekit-keys"], "a token for a room of others"
    await world.settle()
    assert world.ready("MeetingRoom", ROOM) == ("False", "RoomExists")
    assert world.kubernetes.names("Secret") == ["voice-livekit-keys"]
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, ROOM)
    await world.settle()
    assert settings(world) == theirs


async def test_a_resource_that_never_had_the_room_does_not_delete_it(world: World) -> None:
    await world.with_server()
    world.livekit.start_room(RoomSettings(ROOM, 4, 300, 20, ""))
    await world.reconcile("LiveKitServer", "voice")
    await opened(world)
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, ROOM)
    await world.settle()
    assert world.kubernetes.names("MeetingRoom") == []
    assert ROOM in world.livekit.rooms


async def test_an_operator_that_starts_again_knows_its_rooms(world: World) -> None:
    await opened(world, syncStreams=True, tokens=[{"identity": "alice"}])
    restarted = World()
    restarted.clock, restarted.kubernetes.objects = world.clock, world.kubernetes.objects
    restarted.livekit.rooms = world.livekit.rooms
    for manifest in world.kubernetes.objects.values():
        kind = manifest["kind"]
        if kind in restarted.context.resources:
            restarted.context.resources[kind].put(manifest)
        elif kind in restarted.context.children:
            restarted.context.children[kind].put(manifest)
    for _ in range(3):
        await restarted.round()
    assert restarted.written() == []
    assert {request[0] for request in restarted.livekit.requests} == {"list_rooms"}, "the server's listing says it all"
    assert restarted.ready("MeetingRoom", ROOM) == ("True", "Ready")


async def test_a_crash_between_the_room_and_the_status_makes_no_foreign_room(world: World) -> None:
    await world.with_server()
    world.clock.advance(60)
    world.kubernetes.put(manifests.room())
    world.livekit.problem = ServerUnreachable("no answer")
    await world.reconcile("MeetingRoom", ROOM)
    world.livekit.problem = None
    world.context.claims.clear()
    access = world.context.servers[NAMESPACE, "voice"]
    access.rooms.put(await world.livekit.create_room(RoomSettings(ROOM, 10, NEVER_SECONDS, NEVER_SECONDS, "")))
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")
    assert world.livekit.asked("create_room") == 2


@pytest.mark.parametrize(
    ("limits", "spec", "words"),
    [
        ({"metadataBytes": 3}, {"metadata": "äö"}, "spec.metadata has 4 bytes, and the server takes 3"),
        ({"roomNameLength": 5}, {}, "name on the server has 10 bytes"),
        (
            {"attributesBytes": 3},
            {"agentDispatches": [{"agentName": "a", "attributes": {"k": "ö", "l": "m"}}]},
            "spec.agentDispatches[0].attributes have 5 bytes",
        ),
        (
            {"metadataBytes": 3},
            {"agentDispatches": [{"agentName": "a", "metadata": "long"}]},
            "spec.agentDispatches[0].metadata has 4 bytes",
        ),
        ({}, {"roomName": "ä" * 200}, "has 400 bytes, and the server takes 256"),
    ],
)
async def test_what_the_server_would_refuse_is_named(
    world: World, limits: dict[str, int], spec: dict[str, Any], words: str
) -> None:
    await world.with_server(limits=limits)
    world.kubernetes.put(manifests.room(**spec))
    world.forget()
    await world.reconcile("MeetingRoom", ROOM)
    assert world.ready("MeetingRoom", ROOM) == ("False", "ServerLimitExceeded")
    assert words in world.message("MeetingRoom", ROOM)
    assert world.livekit.requests == []
