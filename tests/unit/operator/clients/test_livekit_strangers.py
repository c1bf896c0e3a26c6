"""Whatever answers in a LiveKit server's place costs the operator nothing."""

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from livekit import api

from livekit_operator.clients import livekit
from livekit_operator.clients.livekit import LiveKitClient
from livekit_operator.errors import ServerNonsense, ServerRefused, ServerUnreachable
from tests.fakes.manifests import API_KEY, API_SECRET
from tests.unit.operator.clients.livekit_server import ABSENT_IS_FINE, CALLS, ROOM, SETTINGS, Server


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


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(status=st.sampled_from([200, 400, 404, 503]), body=st.binary(max_size=200))
async def test_whatever_is_answered_is_one_of_the_errors(server: Server, status: int, body: bytes) -> None:
    server.reply = status, body
    for call in (*CALLS.values(), *(call for call, _ in ABSENT_IS_FINE.values())):
        with suppress(ServerUnreachable, ServerRefused):
            await call(server.client)
