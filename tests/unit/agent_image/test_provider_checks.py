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
from voice_agent.config import LlmProvider, ProviderConfig, SttProvider, TtsProvider
from voice_agent.provider_checks import ProviderMonitor, models_verdict, settles
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

    async def realtime(self, request: web.Request) -> web.StreamResponse:
        return await self._socket("realtime", request, f"Bearer {KEYS['LLM_API_KEY']}")

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
            web.get("/v1/realtime", stand_in.realtime),
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


async def test_a_server_of_tools_is_asked_in_its_protocol_with_its_headers(
    document: dict[str, Any], tmp_path: Path
) -> None:
    async def initialize(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.headers.get("Authorization") == "Bearer k" else 401)

    app, board = web.Application(), ProviderErrorBoard(tmp_path)
    app.router.add_post("/mcp", initialize)
    async with TestServer(app, host="127.0.0.1") as server, aiohttp.ClientSession() as session:
        headers = [{"name": "Authorization", "scheme": "Bearer"}]
        desk = {"name": "desk", "url": str(server.make_url("/mcp")), "allowed": ["find"], "headers": headers}
        config = configuration.parse(json.dumps({**document, "tools": {"mcp": [desk]}}))
        for key, told in (("wrong", [("tools.mcp[0]", "desk", 401)]), ("k", [])):
            monitor = ProviderMonitor(config, {**KEYS, "TOOLS_MCP_0_HEADER_0": key}, board)
            await monitor.check(session, ["tools.mcp[0]"])
            assert [(error.role, error.provider, error.code) for error in board.current()] == told


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
def test_models_verdict(status: int, verdict: int | None) -> None:
    assert models_verdict(status) == verdict


@pytest.mark.parametrize(
    ("provider", "code", "settled"),
    [
        (SttProvider(), 400, True),
        (TtsProvider(), 401, True),
        (LlmProvider(), 401, True),
        (LlmProvider(), 0, True),
        (LlmProvider(), 503, True),
        (LlmProvider(), 404, False),
        (SttProvider(provider="openai"), 404, False),
        (TtsProvider(provider="openai"), 429, True),
    ],
)
def test_settles(provider: ProviderConfig, code: int, settled: bool) -> None:
    assert settles(provider, code) is settled


async def test_a_realtime_model_is_asked_in_its_own_protocol(
    providers: tuple[Providers, str], document: dict[str, Any], tmp_path: Path
) -> None:
    document["realtime"] = {"provider": "openai", "baseUrl": providers[1]}
    config = configuration.parse(json.dumps(document))
    board = ProviderErrorBoard(tmp_path)
    async with aiohttp.ClientSession() as session:
        await ProviderMonitor(config, {"REALTIME_API_KEY": KEYS["LLM_API_KEY"]}, board).check(session, ["realtime"])
        assert (providers[0].asked, board.current()) == (["realtime"], [])
        await ProviderMonitor(config, {}, board).check(session, ["realtime"])
    assert [(error.role, error.code) for error in board.current()] == [("realtime", 401)]


async def test_each_provider_of_a_role_is_asked_in_its_own_protocol(
    providers: tuple[Providers, str], document_with_fallback: dict[str, Any], tmp_path: Path
) -> None:
    stand_in, url = providers
    stt = document_with_fallback["stt"]
    stt["baseUrl"] = stt["fallbacks"][0]["baseUrl"] = url
    board = ProviderErrorBoard(tmp_path)
    config = configuration.parse(json.dumps(document_with_fallback))
    key = {"STT_FALLBACKS_0_API_KEY": KEYS["LLM_API_KEY"]}
    async with aiohttp.ClientSession() as session:
        await ProviderMonitor(config, {**KEYS, **key}, board).check(session, ["stt", "stt.fallbacks[0]"])
        assert (sorted(stand_in.asked), board.current()) == (["llm", "stt"], [])
        await ProviderMonitor(config, KEYS, board).check(session, ["stt", "stt.fallbacks[0]"])
    told = [(error.role, error.provider, error.code) for error in board.current()]
    assert told == [("stt.fallbacks[0]", "openai", 401)], "it was sent no key"
