"""The client against the bytes of a LiveKit server: twirp requests and answers in protobuf over HTTP."""

import asyncio
import gzip
import json
import socket
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from livekit import api
from livekit.api.access_token import Claims
from livekit.protocol.models import ParticipantInfo, ParticipantPermission, TrackInfo

from livekit_operator.clients import livekit
from livekit_operator.clients.livekit import LiveKitClient
from livekit_operator.errors import RoomUnanswered, ServerNonsense, ServerRefused, ServerUnreachable
from livekit_operator.views import AgentRequest, DispatchView, ParticipantView, RoomSettings, RoomView, remembered
from tests.fakes.manifests import API_KEY, API_SECRET
from tests.fakes.waiting import eventually

_REQUESTS: dict[str, type[Message]] = {
    "RoomService/ListRooms": api.ListRoomsRequest,
    "RoomService/CreateRoom": api.CreateRoomRequest,
    "RoomService/DeleteRoom": api.DeleteRoomRequest,
    "RoomService/UpdateRoomMetadata": api.UpdateRoomMetadataRequest,
    "RoomService/ListParticipants": api.ListParticipantsRequest,
    "RoomService/RemoveParticipant": api.RoomParticipantIdentity,
    "AgentDispatchService/ListDispatch": api.ListAgentDispatchRequest,
    "AgentDispatchService/CreateDispatch": api.CreateAgentDispatchRequest,
    "AgentDispatchService/DeleteDispatch": api.DeleteAgentDispatchRequest,
}


@dataclass
class Server:
    """Answers what a test tells it to, and notes what it was asked."""

    client: LiveKitClient
    site: TestServer
    url: str
    requests: list[tuple[str, Message, Claims]] = field(default_factory=list)
    reply: Message | tuple[int, bytes] = field(default_factory=api.ListRoomsResponse)
    headers: dict[str, str] = field(default_factory=dict)
    hold: asyncio.Event | None = None
    asked_with: list[dict[str, str]] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)

    def refuse(self, status: int, code: str, message: str = "words of the server") -> None:
        """Answer with a twirp error."""
        self.reply = status, json.dumps({"code": code, "msg": message}).encode()

    @property
    def asked(self) -> tuple[str, Message]:
        """Return the last request."""
        return self.requests[-1][:2]

    async def handle(self, request: web.Request) -> web.Response:
        """Note a request and answer it."""
        assert request.transport
        self.connections.add(request.transport.get_extra_info("peername"))
        self.asked_with.append(dict(request.headers))
        if self.hold is not None:
            await self.hold.wait()
        method = request.path.removeprefix("/twirp/livekit.")
        message = _REQUESTS[method]()
        message.ParseFromString(await request.read())
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.requests.append((method, message, api.TokenVerifier(API_KEY, API_SECRET).verify(token)))
        if isinstance(self.reply, tuple):
            status, body = self.reply
            return web.Response(status=status, body=body, content_type="application/json", headers=self.headers)
        return web.Response(body=self.reply.SerializeToString(), content_type="application/protobuf")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    holder: list[Server] = []

    async def handle(request: web.Request) -> web.Response:
        return await holder[0].handle(request)

    application = web.Application()
    application.router.add_post("/{path:.*}", handle)
    site = TestServer(application, host="127.0.0.1")
    await site.start_server()
    url = str(site.make_url("")).replace("http://", "ws://")
    client = LiveKitClient(url, API_KEY, API_SECRET)
    made = Server(client, site, url)
    holder.append(made)
    yield made
    await client.close()
    await site.close()


SETTINGS = RoomSettings("support-42", 10, 300, 20, "hello")
ROOM = api.Room(
    sid="RM_1", name="support-42", max_participants=10, empty_timeout=300, departure_timeout=20, metadata="hello",
    num_participants=2,
)  # fmt: skip


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
    await server.client.delete_room("support-42")
    assert server.asked == ("RoomService/DeleteRoom", api.DeleteRoomRequest(room="support-42"))
    await server.client.remove_participant("support-42", "alice")
    assert server.asked[1] == api.RoomParticipantIdentity(room="support-42", identity="alice")


async def test_participants_are_people_or_agents_and_recorders_are_neither(server: Server) -> None:
    agent = ParticipantInfo(
        identity="agent-1", kind=ParticipantInfo.Kind.AGENT, attributes={"lk.agent.name": "front-desk"}
    )
    nameless = ParticipantInfo(identity="agent-2", kind=ParticipantInfo.Kind.AGENT)
    pretender = ParticipantInfo(
        identity="alice", attributes={"lk.agent.name": "front-desk"}, permission=ParticipantPermission(agent=True)
    )
    egress = ParticipantInfo(identity="EG_1", kind=ParticipantInfo.Kind.EGRESS)
    recorder = ParticipantInfo(identity="tape", permission=ParticipantPermission(recorder=True))
    server.reply = api.ListParticipantsResponse(participants=[agent, nameless, pretender, egress, recorder])
    assert await server.client.list_participants("support-42") == [
        ParticipantView("agent-1", "front-desk", connected=False),
        ParticipantView("agent-2", "", connected=False),
        ParticipantView("alice", None, connected=False),
    ]


@pytest.mark.parametrize(
    ("info", "connected"),
    [
        ({"state": ParticipantInfo.State.JOINING}, False),
        ({"state": ParticipantInfo.State.JOINED}, False),
        ({"state": ParticipantInfo.State.JOINED, "attributes": {"lk.agent.state": "initializing"}}, False),
        ({"state": ParticipantInfo.State.JOINED, "attributes": {"lk.agent.state": "listening"}}, True),
        ({"state": ParticipantInfo.State.JOINED, "tracks": [TrackInfo(sid="TR_1")]}, True),
        ({"state": ParticipantInfo.State.ACTIVE}, True),
    ],
)
async def test_who_has_joined_is_connected_once_media_can_flow(
    server: Server, info: dict[str, Any], connected: bool
) -> None:
    joined_at = int(time.time()) - 30
    agent = ParticipantInfo(identity="agent-1", kind=ParticipantInfo.Kind.AGENT, joined_at=joined_at, **info)
    server.reply = api.ListParticipantsResponse(participants=[agent])
    (found,) = await server.client.list_participants("support-42")
    assert found.connected is connected
    assert 30 <= found.age < 60


async def test_dispatches(server: Server) -> None:
    made_at = int((time.time() - 100) * 1e9)
    old = api.AgentDispatch(id="AD_1", agent_name="front-desk", state={"created_at": made_at})
    future = api.AgentDispatch(id="AD_2", agent_name="x", state={"created_at": int((time.time() + 900) * 1e9)})
    server.reply = api.ListAgentDispatchResponse(agent_dispatches=[old, future])
    first, second = await server.client.list_dispatches("support-42")
    assert (first.id, first.agent_name) == ("AD_1", "front-desk")
    assert 100 <= first.age < 200
    assert second.age == 0.0, "a server whose clock is ahead"

    server.reply = api.AgentDispatch(id="AD_3", agent_name="front-desk")
    assert await server.client.create_dispatch("support-42", AgentRequest("front-desk", "job")) == DispatchView(
        "AD_3", "front-desk", 0.0
    )
    assert server.asked[1] == api.CreateAgentDispatchRequest(agent_name="front-desk", room="support-42", metadata="job")
    await server.client.delete_dispatch("support-42", "AD_3")
    assert server.asked[1] == api.DeleteAgentDispatchRequest(dispatch_id="AD_3", room="support-42")


Call = Callable[[LiveKitClient], Awaitable[object]]
CALLS: dict[str, Call] = {
    "list_rooms": lambda client: client.list_rooms(),
    "create_room": lambda client: client.create_room(SETTINGS),
    "update_metadata": lambda client: client.update_metadata("r", "m"),
    "create_dispatch": lambda client: client.create_dispatch("r", AgentRequest("a", "m")),
}
ABSENT_IS_FINE: dict[str, tuple[Call, object]] = {
    "delete_room": (lambda client: client.delete_room("r"), None),
    "list_participants": (lambda client: client.list_participants("r"), []),
    "list_dispatches": (lambda client: client.list_dispatches("r"), []),
    "delete_dispatch": (lambda client: client.delete_dispatch("r", "d"), None),
    "remove_participant": (lambda client: client.remove_participant("r", "i"), None),
}


@pytest.mark.parametrize("name", ABSENT_IS_FINE)
async def test_what_is_gone_already_is_fine(server: Server, name: str) -> None:
    call, expected = ABSENT_IS_FINE[name]
    server.refuse(404, "not_found")
    assert await call(server.client) == expected


@pytest.mark.parametrize("name", CALLS)
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


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(502, b"<html>Bad Gateway</html>", id="a proxy's page"),
        pytest.param(503, b"{}", id="a load balancer's JSON"),
        pytest.param(502, b"", id="nothing"),
        pytest.param(502, b"[]", id="other JSON"),
        pytest.param(200, b"\xff\xff\xff", id="no protobuf"),
        pytest.param(200, b"\x0a\x7fhalf", id="half of a room"),
        pytest.param(200, b"\x0a\xff\xff\xff\x7f", id="a room of 268 million bytes"),
        pytest.param(200, b"\x0a\x00" * (livekit.MOST_ROOMS + 1), id="rooms without number"),
        pytest.param(200, b"\x0a\x04\x12\x02\xff\xff", id="a name that is no text"),
        pytest.param(200, b"\x10\x00" * 200, id="fields without number"),
        pytest.param(502, b"[" * 10_000, id="JSON deeper than the stack"),
        pytest.param(502, b'{"code": ' + b"9" * 5_000 + b"}", id="a number of thousands of digits"),
        pytest.param(502, b'{"code": ["unavailable"], "msg": {}}', id="no texts"),
        pytest.param(502, b'{"code": "unavailable", "msg": "' + b"x" * 1_000_000 + b'"}', id="an endless excuse"),
    ],
)
async def test_an_answer_that_is_not_a_servers_is_unreachable(server: Server, status: int, body: bytes) -> None:
    """Between operator and server may stand a proxy that speaks for a server that is not there."""
    server.reply = status, body
    with pytest.raises(ServerUnreachable):
        await server.client.list_rooms()


async def test_an_error_that_is_too_long_is_nonsense(server: Server) -> None:
    """Then only one at a time asks for it."""
    server.reply = 503, b'{"code": "unavailable", "msg": "' + b"x" * 20_000 + b'"}'
    with pytest.raises(ServerNonsense, match="more than 16384 bytes"):
        await server.client.create_room(SETTINGS)


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


async def test_a_server_that_says_nothing_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livekit, "_LIMITS", aiohttp.ClientTimeout(total=0.05))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = LiveKitClient(f"http://127.0.0.1:{silent.getsockname()[1]}", API_KEY, API_SECRET)
        try:
            async with asyncio.timeout(5):
                with pytest.raises(ServerUnreachable):
                    await client.list_rooms()
        finally:
            await client.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nobody_is_led_elsewhere(server: Server, status: int) -> None:
    """Whoever runs a server would else choose what the operator asks at addresses that only it reaches."""
    server.reply, server.headers = (status, b""), {"Location": f"{server.url.replace('ws', 'http')}/twirp/elsewhere"}
    with pytest.raises(ServerNonsense, match="leads elsewhere"):
        await server.client.list_rooms()
    assert len(server.requests) == 1


async def test_a_token_lives_for_a_minute(server: Server) -> None:
    await server.client.list_rooms()
    claims = jwt.decode(
        server.asked_with[0]["Authorization"].removeprefix("Bearer "), API_SECRET, algorithms=["HS256"], issuer=API_KEY
    )
    assert claims["exp"] - claims["nbf"] <= 60


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_answers_are_neither_asked_for_nor_read(server: Server, encoding: str) -> None:
    server.reply = 200, (gzip if encoding == "gzip" else zlib).compress(b"\x10\x00" * 5_000_000)
    server.headers = {"Content-Encoding": encoding}
    with pytest.raises(ServerUnreachable, match="compressed"):
        await server.client.list_rooms()
    assert server.asked_with[0]["Accept-Encoding"] == "identity"


async def test_the_words_of_a_server_are_short_and_printable(server: Server) -> None:
    token = api.AccessToken(API_KEY, API_SECRET).to_jwt()
    server.refuse(400, "invalid_argument" * 99, f"{token}\n\x1b[31m\u202e" + "words " * 1000)
    with pytest.raises(ServerRefused) as caught:
        await server.client.list_rooms()
    text = str(caught.value)
    assert len(text) <= 300
    assert text.startswith("[token] [31m words")
    assert text.isprintable()
    assert len(caught.value.code) <= 64


async def test_others_have_their_turn_while_a_listing_of_many_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece of 64 KiB may hold thousands of entries: all others waited until the last one was read."""
    number, turns = 10_000, 0

    async def one_piece(*_: Any) -> AsyncIterator[bytes]:
        yield b"\x0a\x00" * number

    async def read() -> int:
        return len([raw async for raw in livekit._entries(cast(Any, None), number, "rooms")])

    monkeypatch.setattr("livekit_operator.clients.strangers.chunks", one_piece)
    reading = asyncio.create_task(read())
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert await reading == number
    assert turns >= number // 500


async def test_a_listing_without_end_is_not_read_to_its_end(server: Server) -> None:
    server.reply = 200, api.ListRoomsResponse(rooms=[api.Room(metadata="x" * 1_000_000)]).SerializeToString() * 50
    with pytest.raises(ServerUnreachable, match="more than 33554432 bytes"):
        await server.client.list_rooms()


async def test_a_room_whose_name_is_too_long_hides_no_other(server: Server) -> None:
    server.reply = api.ListRoomsResponse(rooms=[api.Room(sid="RM_0", name="x" * 5000), ROOM])
    assert [room.sid for room in await server.client.list_rooms()] == ["RM_1"]


async def test_long_metadata_is_kept_as_its_digest(server: Server) -> None:
    text = "m" * 60_000
    server.reply = api.Room(sid="RM_1", name="r", metadata=text, num_participants=2**32 - 1)
    view = await server.client.create_room(SETTINGS)
    assert view.settings.metadata == remembered(text)
    assert len(view.settings.metadata) < 100
    assert view.participants == 1_000_000


async def test_a_room_that_no_node_answers_for_is_no_silent_server(server: Server) -> None:
    server.refuse(503, "unavailable", "no response from servers")
    with pytest.raises(RoomUnanswered):
        await server.client.list_dispatches("support-42")


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


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(status=st.sampled_from([200, 400, 404, 503]), body=st.binary(max_size=200))
async def test_whatever_is_answered_is_one_of_the_errors(server: Server, status: int, body: bytes) -> None:
    server.reply = status, body
    for call in (*CALLS.values(), *(call for call, _ in ABSENT_IS_FINE.values())):
        with suppress(ServerUnreachable, ServerRefused):
            await call(server.client)
