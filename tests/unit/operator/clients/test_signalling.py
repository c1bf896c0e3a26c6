"""Joining by signalling alone, against a websocket of a server's."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from livekit import api
from livekit.protocol.models import Room
from livekit.protocol.rtc import JoinResponse, SignalResponse

from livekit_operator.clients import signalling
from livekit_operator.clients.livekit import LiveKitClient
from livekit_operator.errors import ServerNonsense, ServerTimedOut, ServerUnreachable
from tests.fakes.manifests import API_KEY, API_SECRET

JOIN = SignalResponse(join=JoinResponse(room=Room(sid="RM_1"))).SerializeToString()
STORED = SignalResponse(refresh_token="t").SerializeToString()


@dataclass
class Signalling:
    """A server that says what a test tells it to, to whoever joins, and closes the room when it is deleted."""

    client: LiveKitClient
    says: list[bytes | str] = field(default_factory=lambda: [JOIN, STORED])
    status: int = 101
    closes: bool = True
    joined: list[api.access_token.Claims] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    stays: list[web.WebSocketResponse] = field(default_factory=list)

    async def rtc(self, request: web.Request) -> web.StreamResponse:
        """Let somebody join."""
        self.events.append("join")
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.joined.append(api.TokenVerifier(API_KEY, API_SECRET).verify(token))
        if self.status != 101:
            return web.Response(status=self.status, headers={"Location": "/elsewhere"})
        stay = web.WebSocketResponse()
        await stay.prepare(request)
        self.stays.append(stay)
        for said in self.says:
            await (stay.send_bytes(said) if isinstance(said, bytes) else stay.send_str(said))
        await stay.receive()
        self.events.append("leave")
        return stay

    async def delete(self, _: web.Request) -> web.Response:
        """Delete the room."""
        self.events.append("delete")
        if self.closes:
            for stay in self.stays:
                await stay.close()
        return web.Response(body=b"")

    async def elsewhere(self, _: web.Request) -> web.Response:
        """Note that somebody was led here."""
        self.events.append("elsewhere")
        return web.Response()


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Signalling]:
    monkeypatch.setattr(signalling, "_ENDED_SECONDS", 0.2)
    application = web.Application()
    holder: list[Signalling] = []

    def to(name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> Any:
            return await getattr(holder[0], name)(request)

        return handle

    application.router.add_get("/rtc", to("rtc"))
    application.router.add_get("/elsewhere", to("elsewhere"))
    application.router.add_post("/twirp/livekit.RoomService/DeleteRoom", to("delete"))
    site = TestServer(application, host="127.0.0.1")
    await site.start_server()
    client = LiveKitClient(str(site.make_url("")), API_KEY, API_SECRET)
    made = Signalling(client)
    holder.append(made)
    yield made
    await client.close()
    await site.close()


async def test_a_room_is_deleted_while_somebody_stays_in_it(server: Signalling) -> None:
    assert await server.client.delete_forgotten("support-42", "RM_1")
    assert server.events[:2] == ["join", "delete"]


@pytest.mark.parametrize(("sid", "closes"), [("RM_2", True), ("RM_1", False)])
async def test_a_room_of_another_node_is_not_the_one_that_was_deleted(
    server: Signalling, sid: str, closes: bool
) -> None:
    server.closes = closes
    assert not await server.client.delete_forgotten("support-42", sid)


async def test_who_joins_is_nobody_and_may_do_nothing(server: Signalling) -> None:
    await server.client.recall_room("support-42")
    await server.client.recall_room("support-42")
    await server.client.recall_room("support-42", "alice")
    first, second, third = server.joined
    assert first.identity.startswith("livekit-operator-")
    assert first.identity != second.identity
    assert third.identity == "alice"
    for claims in server.joined:
        assert claims.kind == "agent"
        assert claims.video == api.VideoGrants(
            room_join=True,
            room="support-42",
            room_create=True,
            can_publish=False,
            can_publish_data=False,
            can_subscribe=False,
        )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nobody_is_led_elsewhere(server: Signalling, status: int) -> None:
    server.status = status
    with pytest.raises(ServerNonsense, match="leads elsewhere"):
        await server.client.recall_room("support-42")
    assert server.events == ["join"]


@pytest.mark.parametrize("status", [200, 401, 404, 500])
async def test_who_is_not_let_in_finds_the_server_unreachable(server: Signalling, status: int) -> None:
    server.status = status
    with pytest.raises(ServerUnreachable) as caught:
        await server.client.delete_forgotten("support-42", "RM_1")
    assert "eyJ" not in str(caught.value), "a token"
    assert server.events == ["join"]


@pytest.mark.parametrize(
    "says",
    [
        pytest.param([b"\xff\xff\xff"], id="no protobuf"),
        pytest.param(["text"], id="text"),
        pytest.param([JOIN] * (signalling._MOST_MESSAGES + 1), id="without end"),
        pytest.param([b"\x00" * (signalling._MAX_MESSAGE_BYTES + 1)], id="too long"),
    ],
)
async def test_what_no_server_says_is_nonsense(server: Signalling, says: list[bytes | str]) -> None:
    server.says = says
    with pytest.raises(ServerNonsense):
        await server.client.recall_room("support-42")


async def test_a_server_that_stores_nothing_is_not_waited_for(
    server: Signalling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signalling, "_STORED_SECONDS", 0.1)
    server.says = [JOIN]
    with pytest.raises(ServerTimedOut):
        await server.client.delete_forgotten("support-42", "RM_1")
    assert "delete" not in server.events
