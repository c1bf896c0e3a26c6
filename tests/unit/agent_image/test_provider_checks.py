"""Providers are asked in their own protocol, and their answers end up on the board."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from voice_agent import config as configuration
from voice_agent.provider_checks import ProviderMonitor, llm_verdict, settles
from voice_agent.provider_errors import ProviderError, ProviderErrorBoard

from .conftest import KEYS


class Providers:
    """All three providers; answers with `status`, or accepts when the header is the expected one."""

    def __init__(self) -> None:
        self.status: dict[str, int] = {}
        self.asked: list[str] = []

    async def models(self, request: web.Request) -> web.StreamResponse:
        self._judge("llm", request, f"Bearer {KEYS['LLM_API_KEY']}")
        return web.json_response({"object": "list", "data": []})

    async def listen(self, request: web.Request) -> web.StreamResponse:
        return await self._socket("stt", request, f"Token {KEYS['STT_API_KEY']}")

    async def speak(self, request: web.Request) -> web.StreamResponse:
        return await self._socket("tts", request, f"Token {KEYS['TTS_API_KEY']}")

    async def _socket(self, role: str, request: web.Request, authorization: str) -> web.StreamResponse:
        self._judge(role, request, authorization)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    def _judge(self, role: str, request: web.Request, authorization: str) -> None:
        self.asked.append(role)
        status = self.status.get(role, 200 if request.headers["Authorization"] == authorization else 401)
        if status != 200:
            raise _refusal(status)


def _refusal(status: int) -> web.HTTPException:
    class Refusal(web.HTTPException):
        status_code = status

    return Refusal(text="the key you sent is ...")


@pytest.fixture
async def providers() -> AsyncIterator[tuple[Providers, str]]:
    stand_in = Providers()
    app = web.Application()
    app.add_routes(
        [
            web.get("/v1/models", stand_in.models),
            web.get("/v1/listen", stand_in.listen),
            web.get("/v1/speak", stand_in.speak),
        ]
    )
    async with TestServer(app) as server:
        yield stand_in, str(server.make_url("/v1"))


async def test_errors_appear_and_heal(
    providers: tuple[Providers, str], document: dict[str, Any], tmp_path: Path
) -> None:
    stand_in, url = providers
    for role in ("stt", "llm", "tts"):
        document[role]["baseUrl"] = url
    board = ProviderErrorBoard(tmp_path)
    monitor = ProviderMonitor(configuration.parse(json.dumps(document)), KEYS, board)
    async with aiohttp.ClientSession() as session:
        await monitor.check(session, ["stt", "llm", "tts"])
        assert board.current() == []
        stand_in.status = {"stt": 401, "llm": 403, "tts": 400}
        await monitor.check(session, ["stt", "llm", "tts"])
        assert [(error.role, error.code) for error in board.current()] == [("stt", 401), ("llm", 403), ("tts", 400)]
        assert "the key you sent" not in json.dumps([error.message for error in board.current()])
        first = board.current()
        await monitor.check(session, ["stt"])
        assert board.current() == first, "the same error keeps the time it was first seen"
        stand_in.status = {}
        await monitor.check(session, ["stt", "llm", "tts"])
        assert board.current() == []


async def test_nobody_there(document: dict[str, Any], tmp_path: Path) -> None:
    document["stt"]["baseUrl"] = "http://127.0.0.1:9/v1"
    board = ProviderErrorBoard(tmp_path)
    monitor = ProviderMonitor(configuration.parse(json.dumps(document)), KEYS, board)
    async with aiohttp.ClientSession() as session:
        await monitor.check(session, ["stt"])
    assert [(error.role, error.code, error.message) for error in board.current()] == [
        ("stt", 0, "the provider cannot be reached")
    ]


async def test_a_list_of_models_does_not_excuse_a_refused_chat(
    providers: tuple[Providers, str], document: dict[str, Any], tmp_path: Path
) -> None:
    document["llm"]["baseUrl"] = providers[1]
    board = ProviderErrorBoard(tmp_path)
    board.report(ProviderError.now("llm", "openai", 404))
    monitor = ProviderMonitor(configuration.parse(json.dumps(document)), KEYS, board)
    async with aiohttp.ClientSession() as session:
        await monitor.check(session, ["llm"])
    assert [error.code for error in board.current()] == [404]


@pytest.mark.parametrize(
    ("status", "verdict"), [(200, None), (404, None), (405, None), (401, 401), (403, 403), (429, 429), (503, 503)]
)
def test_llm_verdict(status: int, verdict: int | None) -> None:
    assert llm_verdict(status) == verdict


@pytest.mark.parametrize(
    ("role", "code", "settled"),
    [
        ("stt", 400, True),
        ("tts", 401, True),
        ("llm", 401, True),
        ("llm", 0, True),
        ("llm", 503, True),
        ("llm", 404, False),
    ],
)
def test_settles(role: str, code: int, settled: bool) -> None:
    assert settles(role, code) is settled
