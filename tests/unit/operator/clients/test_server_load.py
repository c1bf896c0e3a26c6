"""A server's metrics, as bytes of a real HTTP server."""

import base64
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.clients.server_load import ServerLoadClient, parse_load
from livekit_operator.views import ServerLoad

# As livekit-server v1.13.5 writes them.
METRICS = """# HELP livekit_participant_total
# TYPE livekit_participant_total gauge
livekit_participant_total{node_id="ND_x",node_type="SERVER"} 3
# TYPE livekit_room_duration_seconds histogram
livekit_room_duration_seconds_bucket{node_id="ND_x",node_type="SERVER",le="5"} 0
# TYPE livekit_room_total gauge
livekit_room_total{node_id="ND_x",node_type="SERVER"} 2
"""


class Server:
    """Serves what a test wants on loopback."""

    def __init__(self) -> None:
        self.body, self.status, self.login = METRICS, 200, ""
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a scrape."""
        if self.login and request.headers.get("Authorization") != self.login:
            return web.Response(status=401)
        headers = {"Location": "http://192.0.2.1/"} if self.status == 302 else {}
        return web.Response(status=self.status, text=self.body, headers=headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    served = Server()
    application = web.Application()
    application.add_routes([web.get("/metrics", served.answer)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.port = int(runner.addresses[0][1])
    yield served
    await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[ServerLoadClient]:
    made = ServerLoadClient()
    yield made
    await made.close()


async def test_rooms_and_participants(server: Server, client: ServerLoadClient) -> None:
    assert await client.load("127.0.0.1", server.port, None) == ServerLoad(rooms=2, participants=3)


def test_who_only_passes_through_is_on_another_server() -> None:
    assert parse_load(METRICS.replace("} 2\n", "} 0\n")) == ServerLoad(rooms=0, participants=0)


async def test_a_login_is_shown(server: Server, client: ServerLoadClient) -> None:
    server.login = "Basic " + base64.b64encode(b"scraper:pass").decode()
    assert await client.load("127.0.0.1", server.port, ("scraper", "pass")) is not None
    assert await client.load("127.0.0.1", server.port, None) == ServerLoad(), "it lives, with another login"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, METRICS),
        (302, METRICS),
        (200, ""),
        (200, "livekit_room_total 1\n"),
        (200, "x" * 5_000_000),
        (200, "\0"),
        (200, METRICS.replace("} 2", "} NaN")),
    ],
)
async def test_whatever_else_answers_lives_and_does_not_tell(
    server: Server, client: ServerLoadClient, status: int, body: str
) -> None:
    server.status, server.body = status, body
    assert await client.load("127.0.0.1", server.port, None) == ServerLoad(None, None)


async def test_nobody_there(client: ServerLoadClient) -> None:
    assert await client.load("127.0.0.1", 1, None) is None


def test_a_malformed_line_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_load("livekit_room_total{ 1\nlivekit_participant_total x\n")


def test_counts_are_such_as_a_status_can_hold() -> None:
    assert parse_load(METRICS.replace("} 2", "} 1e300").replace("} 3", "} -1")) == ServerLoad(1_000_000, 0)


@given(st.text(), st.text())
def test_whatever_a_server_says_is_a_load_or_none(rooms: str, participants: str) -> None:
    with suppress(ValueError):
        parse_load(f"livekit_room_total {rooms}\nlivekit_participant_total {participants}\n")
