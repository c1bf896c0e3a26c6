"""The client against the bytes of a LiveKit server: twirp requests and answers in protobuf over HTTP."""

import asyncio
from dataclasses import replace

import jwt
import pytest
from aiohttp import web
from livekit import api
from livekit.protocol.models import ParticipantInfo, ParticipantPermission

from livekit_operator.clients.livekit import LiveKitClient
from livekit_operator.errors import NodesUnavailable, RoomUnanswered, RoomUnplaced, ServerRefused, ServerUnreachable
from livekit_operator.views import AgentRequest, DispatchView, ParticipantView, RoomSettings, RoomView
from tests.fakes.manifests import API_KEY, API_SECRET
from tests.fakes.waiting import eventually
from tests.unit.operator.clients.livekit_server import ABSENT_IS_FINE, CALLS, ROOM, SETTINGS, Server


async def test_list_rooms(server: Server) -> None:
    server.reply = api.ListRoomsResponse(rooms=[ROOM, api.Room(sid="RM_2", name="other")])
    rooms = await server.client.list_rooms()
    assert rooms == [RoomView("RM_1", SETTINGS, 2), RoomView("RM_2", RoomSettings("other", 0, 0, 0, ""), 0)]
    assert rooms[0].name == "support-42"
    [(_, _, claims)] = server.requests
    assert claims.video is not None
    assert claims.video.room_list


async def test_create_room(server: Server) -> None:
    server.reply = ROOM
    assert await server.client.create_room(SETTINGS) == RoomView("RM_1", SETTINGS, 2)
    assert server.asked == (
        "RoomService/CreateRoom",
        api.CreateRoomRequest(
            name="support-42", max_participants=10, empty_timeout=300, departure_timeout=20, metadata="hello"
        ),
    )


async def test_create_a_room_with_everything(server: Server) -> None:
    server.reply = ROOM
    agents = (AgentRequest("desk", "job", (("k", "v"),), "blue"), AgentRequest("scribe"))
    settings = RoomSettings("support-42", 0, 0, 0, "", "studio", 100, 200, True, agents)
    await server.client.create_room(settings)
    assert server.asked[1] == api.CreateRoomRequest(
        name="support-42",
        room_preset="studio",
        min_playout_delay=100,
        max_playout_delay=200,
        sync_streams=True,
        agents=[
            api.RoomAgentDispatch(agent_name="desk", metadata="job", attributes={"k": "v"}, deployment="blue"),
            api.RoomAgentDispatch(agent_name="scribe"),
        ],
    )


async def test_change_and_delete_a_room(server: Server) -> None:
    await server.client.update_metadata("support-42", "new")
    assert server.asked[1] == api.UpdateRoomMetadataRequest(room="support-42", metadata="new")
    assert await server.client.delete_room("support-42")
    assert server.asked == ("RoomService/DeleteRoom", api.DeleteRoomRequest(room="support-42"))
    await server.client.remove_participant("support-42", "alice")
    assert server.asked[1] == api.RoomParticipantIdentity(room="support-42", identity="alice")


async def test_recorders_are_no_participants(server: Server) -> None:
    alice = ParticipantInfo(identity="alice")
    egress = ParticipantInfo(identity="EG_1", kind=ParticipantInfo.Kind.EGRESS)
    recorder = ParticipantInfo(identity="tape", permission=ParticipantPermission(recorder=True))
    server.reply = api.ListParticipantsResponse(participants=[egress, alice, recorder])
    assert await server.client.list_participants("support-42") == [ParticipantView("alice", connected=False)]


async def test_dispatches(server: Server) -> None:
    listed = [api.AgentDispatch(id="AD_1", agent_name="front-desk"), api.AgentDispatch(id="AD_2", agent_name="x")]
    server.reply = api.ListAgentDispatchResponse(agent_dispatches=listed)
    assert await server.client.list_dispatches("support-42") == [
        DispatchView("AD_1", "front-desk", 0.0),
        DispatchView("AD_2", "x", 0.0),
    ]
    assert server.asked == ("AgentDispatchService/ListDispatch", api.ListAgentDispatchRequest(room="support-42"))

    server.reply = api.AgentDispatch(id="AD_3", agent_name="front-desk")
    assert await server.client.create_dispatch("support-42", AgentRequest("front-desk", "job")) == DispatchView(
        "AD_3", "front-desk", 0.0
    )
    assert server.asked[1] == api.CreateAgentDispatchRequest(agent_name="front-desk", room="support-42", metadata="job")
    await server.client.delete_dispatch("support-42", "AD_3")
    assert server.asked[1] == api.DeleteAgentDispatchRequest(dispatch_id="AD_3", room="support-42")


@pytest.mark.parametrize("name", ABSENT_IS_FINE)
async def test_what_is_gone_already_is_fine(server: Server, name: str) -> None:
    call, expected = ABSENT_IS_FINE[name]
    server.refuse(404, "not_found")
    assert await call(server.client) == expected


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"update_metadata"}))
async def test_what_must_be_there_is_not_found(server: Server, name: str) -> None:
    server.refuse(404, "not_found")
    with pytest.raises(ServerRefused, match="words of the server") as caught:
        await CALLS[name](server.client)
    assert caught.value.code == "not_found"


@pytest.mark.parametrize("name", [*CALLS, *ABSENT_IS_FINE])
async def test_a_server_in_trouble_is_unreachable(server: Server, name: str) -> None:
    call = CALLS.get(name) or ABSENT_IS_FINE[name][0]
    server.refuse(503, "unavailable")
    with pytest.raises(ServerUnreachable, match="unavailable: words of the server"):
        await call(server.client)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (500, "internal", ServerUnreachable),
        (408, "deadline_exceeded", ServerUnreachable),
        (401, "unauthenticated", ServerRefused),
        (403, "permission_denied", ServerRefused),
        (400, "invalid_argument", ServerRefused),
        (429, "resource_exhausted", ServerRefused),
    ],
)
async def test_errors(server: Server, status: int, code: str, error: type[Exception]) -> None:
    server.refuse(status, code)
    with pytest.raises(error):
        await server.client.list_rooms()


@pytest.mark.parametrize("name", [*CALLS, *ABSENT_IS_FINE])
async def test_a_refused_connection_is_unreachable(server: Server, name: str) -> None:
    await server.site.close()
    with pytest.raises(ServerUnreachable):
        await (CALLS.get(name) or ABSENT_IS_FINE[name][0])(server.client)


async def test_a_connection_is_used_for_a_moment_only(server: Server) -> None:
    """One that is kept would lead to a server that drains, or is gone, while the Service leads to others."""
    now = 100.0
    client = LiveKitClient(server.url, API_KEY, API_SECRET, clock=lambda: now)
    for _ in range(3):
        await client.list_rooms()
    assert len(server.connections) == 1
    now += 1
    await client.list_rooms()
    assert len(server.connections) == 2
    web_server = server.site.runner and server.site.runner.server
    assert isinstance(web_server, web.Server)
    await eventually(lambda: not web_server.connections, "the connections to close")
    now += 1
    await client.list_rooms()
    assert len(server.connections) == 3
    await client.close()


async def test_what_did_not_change_since_the_last_listing_is_not_read_again(server: Server) -> None:
    server.reply = api.ListRoomsResponse(rooms=[ROOM, api.Room(sid="RM_2", name="other")])
    before = await server.client.list_rooms()
    server.reply = api.ListRoomsResponse(rooms=[api.Room(sid="RM_2", name="other", num_participants=1), ROOM])
    after = await server.client.list_rooms()
    assert after[1] is before[0]
    assert after[0] == replace(before[1], participants=1)


async def test_a_token_lives_for_a_minute(server: Server) -> None:
    await server.client.list_rooms()
    claims = jwt.decode(
        server.asked_with[0]["Authorization"].removeprefix("Bearer "), API_SECRET, algorithms=["HS256"], issuer=API_KEY
    )
    assert claims["exp"] - claims["nbf"] <= 60


async def test_a_room_that_no_node_answers_for_is_no_silent_server(server: Server) -> None:
    server.refuse(503, "unavailable", "no response from servers")
    with pytest.raises(RoomUnanswered):
        await server.client.list_dispatches("support-42")


async def test_a_room_that_somebody_has_just_deleted_is_no_fault_of_the_spec(server: Server) -> None:
    server.refuse(404, "not_found", "twirp error unknown: requested room does not exist")
    with pytest.raises(RoomUnanswered):
        await server.client.update_metadata("support-42", "new")


async def test_a_room_whose_node_is_forgotten_is_no_silent_server(server: Server) -> None:
    # As livekit-server 1.13.5 words it when Redis lost its memory and somebody has left the room since.
    server.refuse(500, "unknown", "could not find object")
    with pytest.raises(RoomUnplaced):
        await server.client.delete_room("support-42")


async def test_a_server_too_busy_to_count_itself_is_no_silent_server(server: Server) -> None:
    # As livekit-server 1.13.5 words it on a machine without CPU to spare.
    server.refuse(500, "unknown", "could not find any available nodes")
    with pytest.raises(NodesUnavailable):
        await server.client.create_room(SETTINGS)


async def test_a_client_is_closed_after_its_last_user(server: Server) -> None:
    server.reply, server.hold = ROOM, asyncio.Event()
    asking = asyncio.create_task(server.client.create_room(SETTINGS))
    await eventually(lambda: server.asked_with)
    await server.client.close()
    server.hold.set()
    assert (await asking).sid == "RM_1"
    assert not server.client._sessions._sessions, "nothing is left open"
    assert (await server.client.create_room(SETTINGS)).sid == "RM_1", "who had it before goes on with it"
    assert not server.client._sessions._sessions


async def test_a_client_closed_while_a_name_is_looked_up_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp cancels whoever waits for an address when a connector is closed."""
    looking, found = asyncio.Event(), asyncio.Event()

    async def resolve(*_: object, **__: object) -> list[object]:
        looking.set()
        await found.wait()
        raise OSError("no such name")

    monkeypatch.setattr("aiohttp.resolver.DefaultResolver.resolve", resolve)
    client = LiveKitClient("http://voice.team.svc:7880", API_KEY, API_SECRET)
    asking = asyncio.create_task(client.list_rooms())
    await looking.wait()
    await client.close()
    found.set()
    with pytest.raises(ServerUnreachable, match="Cannot connect"):
        await asking
