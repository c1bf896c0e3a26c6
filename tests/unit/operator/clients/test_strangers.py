"""Whoever answers leads nowhere else, leaves nothing behind, and is read up to a bound."""

import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from livekit_operator.clients.strangers import TooLong, asking, body, chunks, session


@dataclass
class Stranger:
    """Answers each request alike, and notes with which headers it was asked."""

    url: str = ""
    status: int = 200
    reply: bytes = b"hello"
    headers: dict[str, str] = field(default_factory=dict)
    asked_with: list[dict[str, str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        """Note a request and answer it."""
        self.asked_with.append(dict(request.headers))
        return web.Response(status=self.status, body=self.reply, headers=self.headers)


@pytest.fixture
async def stranger() -> AsyncIterator[Stranger]:
    found, application = Stranger(), web.Application()
    application.router.add_route("*", "/{path:.*}", found.handle)
    server = TestServer(application, host="127.0.0.1")
    await server.start_server()
    found.url = str(server.make_url("/"))
    yield found
    await server.close()


@pytest.fixture
async def opened() -> AsyncIterator[aiohttp.ClientSession]:
    async with session(aiohttp.ClientTimeout(total=5)) as one:
        yield one


@pytest.mark.parametrize(("most", "whole"), [(5, True), (4, False)])
async def test_an_answer_has_a_bound(stranger: Stranger, opened: aiohttp.ClientSession, most: int, whole: bool) -> None:
    async with asking(opened, "GET", stranger.url) as response:
        if whole:
            assert await body(response, most) == b"hello"
            return
        with pytest.raises(TooLong, match="more than 4 bytes"):
            await body(response, most)


async def test_what_comes_before_the_bound_is_read_in_pieces(stranger: Stranger, opened: aiohttp.ClientSession) -> None:
    stranger.reply = b"x" * 1_000_000
    pieces: list[bytes] = []

    async def read(response: aiohttp.ClientResponse) -> None:
        async for piece in chunks(response, 300_000):
            pieces.append(piece)  # noqa: PERF401 - those before the bound are kept

    async with asking(opened, "GET", stranger.url) as response:
        with pytest.raises(TooLong):
            await read(response)
    assert pieces
    assert max(map(len, pieces)) <= 65536
    assert sum(map(len, pieces)) <= 300_000


async def test_what_is_compressed_is_neither_asked_for_nor_read(
    stranger: Stranger, opened: aiohttp.ClientSession
) -> None:
    stranger.reply, stranger.headers = gzip.compress(b"x" * 1000), {"Content-Encoding": "gzip"}
    async with asking(opened, "GET", stranger.url) as response:
        with pytest.raises(ValueError, match="compressed"):
            await body(response, 10_000)
    assert stranger.asked_with[0]["Accept-Encoding"] == "identity"


async def test_a_redirect_is_an_answer_like_any_other(stranger: Stranger, opened: aiohttp.ClientSession) -> None:
    stranger.status, stranger.headers = 302, {"Location": f"{stranger.url}elsewhere"}
    async with asking(opened, "GET", stranger.url) as response:
        assert (response.status, await body(response, 10)) == (302, b"hello")
    assert len(stranger.asked_with) == 1


async def test_a_cookie_is_not_brought_back(stranger: Stranger, opened: aiohttp.ClientSession) -> None:
    stranger.headers = {"Set-Cookie": "mark=me; Path=/"}
    by_name = stranger.url.replace("127.0.0.1", "localhost")  # of addresses no cookie is kept anyway
    for _ in range(2):
        async with asking(opened, "GET", by_name) as response:
            assert response.status == 200
    assert [headers.get("Cookie") for headers in stranger.asked_with] == [None, None]
