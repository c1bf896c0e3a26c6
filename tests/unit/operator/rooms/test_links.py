"""Which servers, rooms and pools lead to which MeetingRooms and VoiceAgentPools."""

from typing import Any

from livekit_operator.engine.cache import key_of
from livekit_operator.pools.links import to_rooms
from livekit_operator.process.wiring import TABLE
from livekit_operator.reconciling.links import Users
from livekit_operator.servers.links import as_pool, by_name, to_room, to_server
from tests.fakes import manifests
from tests.fakes.manifests import stored

VOICE = ("team", "voice")
DESK = ("team", "front-desk")
ELSEWHERE = {"name": "voice", "namespace": "team"}


def put(users: Users, kind: str, manifest: dict[str, Any]) -> None:
    users.put(kind, key_of(manifest), TABLE[kind].links(manifest))


def test_a_server_knows_its_pools_and_rooms() -> None:
    users = Users()
    put(users, "VoiceAgentPool", stored(manifests.pool()))
    put(users, "MeetingRoom", stored(manifests.room()))
    put(users, "MeetingRoom", stored(manifests.room("other", serverRef={"name": "another"})))
    put(users, "MeetingRoom", stored(manifests.room("guest", "guests", serverRef=ELSEWHERE)))
    put(users, "LiveKitServer", stored(manifests.server()))
    assert users.of(to_server(VOICE)) == [
        ("MeetingRoom", ("guests", "guest")),
        ("MeetingRoom", ("team", "support-42")),
        ("VoiceAgentPool", DESK),
    ]
    assert users.of(as_pool(VOICE)) == [("VoiceAgentPool", DESK)]


def test_a_room_on_a_server_knows_its_resources() -> None:
    users = Users()
    put(users, "MeetingRoom", stored(manifests.room(roomName="lobby")))
    put(users, "MeetingRoom", stored(manifests.room("lobby")))
    put(users, "MeetingRoom", stored(manifests.room("lobby", "guests", serverRef=ELSEWHERE)))
    assert users.keys_of(to_room(VOICE, "lobby")) == [("team", "lobby"), ("team", "support-42")]
    assert users.keys_of(to_room(VOICE, "guests/lobby")) == [("guests", "lobby")]
    assert users.of(to_room(VOICE, "support-42")) == []
    assert users.of(to_room(("guests", "voice"), "lobby")) == []


def test_a_pool_knows_the_rooms_it_serves() -> None:
    users = Users()
    put(users, "MeetingRoom", stored(manifests.room(agents=[{"poolRef": {"name": "front-desk"}}])))
    put(users, "MeetingRoom", stored(manifests.room("x", "guests", agents=[{"poolRef": {"name": "front-desk"}}])))
    far = [{"poolRef": {"name": "front-desk", "namespace": "team"}}]
    put(users, "MeetingRoom", stored(manifests.room("y", "guests", agents=far)))
    assert users.keys_of(*to_rooms(DESK)) == [("guests", "y"), ("team", "support-42")]
    assert users.keys_of(*to_rooms(("guests", "front-desk"))) == [("guests", "x")]


def test_a_server_knows_the_pools_that_serve_rooms_for_their_names() -> None:
    users = Users()
    put(users, "VoiceAgentPool", stored(manifests.pool(roomPrefix="voice-")))
    put(users, "VoiceAgentPool", stored(manifests.pool("other")))
    put(users, "VoiceAgentPool", stored(manifests.pool("desk", "guests", serverRef=ELSEWHERE, roomPrefix="x-")))
    assert users.keys_of(by_name(VOICE)) == [("guests", "desk"), DESK]
    put(users, "VoiceAgentPool", stored(manifests.pool()))
    assert users.keys_of(by_name(VOICE)) == [("guests", "desk")]


def test_a_changed_resource_is_known_by_its_new_references_only() -> None:
    users = Users()
    put(users, "MeetingRoom", stored(manifests.room(agents=[{"poolRef": {"name": "old"}}])))
    put(users, "MeetingRoom", stored(manifests.room(agents=[{"poolRef": {"name": "front-desk"}}])))
    assert users.of(*to_rooms(("team", "old"))) == []
    assert users.keys_of(*to_rooms(DESK)) == [("team", "support-42")]
    users.remove("MeetingRoom", ("team", "support-42"))
    assert users.of(to_server(VOICE), as_pool(VOICE), to_room(VOICE, "support-42"), *to_rooms(DESK)) == []


def test_a_voice_agent_room_that_names_no_pool_may_be_served_by_any_of_its_namespace() -> None:
    users = Users()
    put(users, "MeetingRoom", stored(manifests.room(kind="VoiceAgent")))
    put(users, "MeetingRoom", stored(manifests.room("named", kind="VoiceAgent", agents=[{"poolRef": {"name": "x"}}])))
    put(users, "MeetingRoom", stored(manifests.room("meeting")))
    assert users.keys_of(*to_rooms(DESK)) == [("team", "support-42")]
    assert users.keys_of(*to_rooms(("team", "x"))) == [("team", "named"), ("team", "support-42")]
    assert users.of(*to_rooms(("guests", "front-desk"))) == []


def test_a_resource_that_is_not_understood_is_no_error() -> None:
    users = Users()
    put(users, "MeetingRoom", stored(manifests.room(maxParticipants="many")))
    put(users, "MeetingRoom", {"metadata": {"namespace": "team", "name": "bare"}})
    assert users.of(to_server(VOICE)) == [("MeetingRoom", ("team", "support-42"))]
    assert users.keys_of(to_room(VOICE, "support-42")) == [("team", "support-42")], "it has the name all the same"
