"""The client against the bytes of an agent pod's status server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from livekit_operator.clients.worker import WorkerClient, parse_status
from livekit_operator.views import ProviderError, WorkerStatus


class Pod:
    def __init__(self, server: TestServer, client: WorkerClient) -> None:
        self.server = server
        self.client = client
        self.status, self.body, self.hang = 200, b"{}", False

    async def handle(self, request: web.Request) -> web.Response:
        assert request.path == "/status"
        if self.hang:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
        return web.Response(status=self.status, body=self.body, content_type="application/json")

    async def ask(self) -> WorkerStatus | None:
        return await self.client.status("127.0.0.1")


@pytest.fixture
async def pod() -> AsyncIterator[Pod]:
    holder: list[Pod] = []

    async def handle(request: web.Request) -> web.Response:
        return await holder[0].handle(request)

    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    server = TestServer(application, host="127.0.0.1")
    await server.start_server()
    assert server.port is not None
    client = WorkerClient(server.port)
    holder.append(Pod(server, client))
    yield holder[0]
    await client.close()
    await server.close()


async def test_a_status(pod: Pod) -> None:
    pod.body = (
        b'{"registered": true, "activeSessions": 2, "more": 1, "providerErrors": '
        b'[{"role": "stt", "provider": "deepgram", "code": 401, "message": "INVALID_AUTH", "at": "now"}]}'
    )
    errors = (ProviderError("stt", "deepgram", 401, "INVALID_AUTH"),)
    assert await pod.ask() == WorkerStatus(True, 2, errors)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(503, b'{"registered": true, "activeSessions": 0}', id="not ready"),
        pytest.param(200, b"<html>", id="no JSON"),
        pytest.param(200, b"{}", id="no status"),
        pytest.param(200, b"[]", id="a list"),
        pytest.param(200, b"null", id="null"),
        pytest.param(200, b'{"registered": true, "activeSessions": "many"}', id="no number"),
        pytest.param(200, b'{"registered": true, "activeSessions": 0, "providerErrors": [1]}', id="no error"),
        pytest.param(200, b"\xff\xfe\xff", id="no text"),
        pytest.param(200, b'{"registered": true, "activeSessions": 0}' + b" " * 70_000, id="too long"),
        pytest.param(200, b"[" * 60_000, id="too deep"),
        pytest.param(302, b'{"registered": true, "activeSessions": 0}', id="elsewhere"),
    ],
)
async def test_what_is_no_status_is_no_answer(pod: Pod, status: int, body: bytes) -> None:
    pod.status, pod.body = status, body
    assert await pod.ask() is None


async def test_a_pod_that_is_gone_does_not_answer(pod: Pod) -> None:
    await pod.server.close()
    assert await pod.ask() is None


async def test_a_pod_that_breaks_off_does_not_answer(pod: Pod) -> None:
    pod.hang = True
    assert await pod.ask() is None


async def test_an_ipv6_address_is_put_in_brackets(pod: Pod) -> None:
    assert await pod.client.status("::1") is None  # the pod listens on IPv4 only; a wrong URL would raise


@pytest.mark.parametrize(
    "body", [{"registered": 1}, {"activeSessions": 1}, {"registered": True, "activeSessions": None}]
)
def test_parsing_refuses_what_is_not_a_status(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="status"):
        parse_status(body)
