"""A LiveKit server of a few answers, for the client."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from google.protobuf.message import Message
from livekit import api
from livekit.api.access_token import Claims

from livekit_operator.clients.livekit import LiveKitClient
from livekit_operator.views import AgentRequest, RoomSettings
from tests.fakes.manifests import API_KEY, API_SECRET

REQUESTS: dict[str, type[Message]] = {
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
        message = REQUESTS[method]()
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
Call = Callable[[LiveKitClient], Awaitable[object]]
CALLS: dict[str, Call] = {
    "list_rooms": lambda client: client.list_rooms(),
    "create_room": lambda client: client.create_room(SETTINGS),
    "update_metadata": lambda client: client.update_metadata("r", "m"),
    "create_dispatch": lambda client: client.create_dispatch("r", AgentRequest("a", "m")),
}
ABSENT_IS_FINE: dict[str, tuple[Call, object]] = {
    "delete_room": (lambda client: client.delete_room("r"), False),
    "list_participants": (lambda client: client.list_participants("r"), []),
    "list_dispatches": (lambda client: client.list_dispatches("r"), []),
    "delete_dispatch": (lambda client: client.delete_dispatch("r", "d"), None),
    "remove_participant": (lambda client: client.remove_participant("r", "i"), None),
}
