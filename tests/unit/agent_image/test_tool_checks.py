"""How the worker asks servers of the Model Context Protocol whether they answer."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from voice_agent.tool_checks import McpCheck


class Desk:
    """A server, as far as it is asked."""

    def __init__(self) -> None:
        self.status, self.session, self.url = 200, "", ""
        self.asked: list[tuple[str, str, str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        method = (await request.json())["method"] if request.method == "POST" else ""
        key, session = request.headers.get("X-Key", ""), request.headers.get("Mcp-Session-Id", "")
        self.asked.append((request.method, method or session, key))
        headers = {"Mcp-Session-Id": self.session} if self.session else {}
        return web.Response(status=self.status, headers={**headers, "Location": "/elsewhere"})


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk, app = Desk(), web.Application()
    app.router.add_route("*", "/{path:.*}", desk.handle)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    desk.url = str(server.make_url("/mcp"))
    yield desk
    await server.close()


@pytest.mark.parametrize(
    ("status", "verdict"), [(200, None), (202, None), (302, 302), (401, 401), (404, 404), (503, 503)]
)
async def test_its_answer_is_the_verdict(desk: Desk, status: int, verdict: int | None) -> None:
    desk.status = status
    async with aiohttp.ClientSession() as session:
        assert await McpCheck(desk.url, {"X-Key": "k"})(session) == verdict
    assert desk.asked == [("POST", "initialize", "k")]


async def test_a_session_that_it_begins_is_ended(desk: Desk) -> None:
    desk.session = "s1"
    async with aiohttp.ClientSession() as session:
        assert await McpCheck(desk.url, {"X-Key": "k"})(session) is None
    assert desk.asked == [("POST", "initialize", "k"), ("DELETE", "s1", "k")]
