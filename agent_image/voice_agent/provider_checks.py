"""Asks each provider, in its own protocol, whether the key is good: before a caller finds out.

Once at the start, and then every half a minute for as long as something is wrong.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlencode

import aiohttp
from livekit.agents.utils import http_context

from .config import KEY_VARIABLES, AgentConfig
from .endpoints import deepgram_url, openai_url
from .provider_errors import ProviderError, ProviderErrorBoard

logger = logging.getLogger(__name__)

INTERVAL = 30.0
TIMEOUT = aiohttp.ClientTimeout(total=10)
OK = None  # what a check returns when nothing is wrong; otherwise an HTTP status, 0 for no answer at all

Check = Callable[[aiohttp.ClientSession], Awaitable[int | None]]


def listen_url(config: AgentConfig) -> str:
    """Where the speech-to-text plugin connects, with the parameters a provider judges."""
    query = {
        "model": config.stt.model,
        "language": config.stt.language,
        "encoding": "linear16",
        "sample_rate": 16000,
        "channels": 1,
        "interim_results": str(config.stt.interim_results).lower(),
        "endpointing": config.stt.endpointing_ms or "false",
    }
    return _websocket(f"{deepgram_url(config.stt.base_url, 'listen')}?{urlencode(query)}")


def speak_url(config: AgentConfig) -> str:
    """Where the text-to-speech plugin connects, with the parameters a provider judges."""
    query = {"model": config.tts.model, "encoding": "linear16", "sample_rate": config.tts.sample_rate}
    return _websocket(f"{deepgram_url(config.tts.base_url, 'speak')}?{urlencode(query)}")


def _websocket(url: str) -> str:
    return f"ws{url.removeprefix('http')}" if url.startswith("http") else url


def llm_verdict(status: int) -> int | None:
    """What an answer to GET /models means: compatible endpoints need not have it, so a 404 is no error."""
    return status if status in {401, 402, 403, 429} or status >= 500 else OK


def settles(role: str, code: int) -> bool:
    """Whether a check that passes disproves an error with this code met in a call.

    The list of models says nothing about a chat request that was refused for what it asked.
    """
    return role != "llm" or code == 0 or llm_verdict(code) is not OK or code >= 1000


def _websocket_check(url: str, key: str, farewell: str) -> Check:
    async def check(session: aiohttp.ClientSession) -> int | None:
        try:
            async with session.ws_connect(url, headers={"Authorization": f"Token {key}"}) as socket:
                await socket.send_json({"type": farewell})
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        return OK

    return check


def _models_check(url: str, key: str) -> Check:
    async def check(session: aiohttp.ClientSession) -> int | None:
        async with session.get(url, headers={"Authorization": f"Bearer {key}"}, allow_redirects=False) as response:
            return llm_verdict(response.status)

    return check


class ProviderMonitor:
    """Keeps the board of provider errors true outside calls."""

    def __init__(self, config: AgentConfig, environ: Mapping[str, str], board: ProviderErrorBoard) -> None:
        keys = {role: environ[name] for role, name in KEY_VARIABLES.items()}
        self._names = {"stt": config.stt.provider, "llm": config.llm.provider, "tts": config.tts.provider}
        self._checks: dict[str, Check] = {
            "stt": _websocket_check(listen_url(config), keys["stt"], "CloseStream"),
            "llm": _models_check(f"{openai_url(config.llm.base_url)}/models", keys["llm"]),
            "tts": _websocket_check(speak_url(config), keys["tts"], "Close"),
        }
        self._board = board

    async def run(self, interval: float = INTERVAL) -> None:
        connector = aiohttp.TCPConnector(ssl=http_context._create_ssl_context())
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT, trust_env=True) as session:
            await self.check(session, list(self._checks))
            while True:
                await asyncio.sleep(interval)
                await self.check(session, [error.role for error in self._board.current()])

    async def check(self, session: aiohttp.ClientSession, roles: list[str]) -> None:
        await asyncio.gather(*(self._check(session, role) for role in roles))

    async def _check(self, session: aiohttp.ClientSession, role: str) -> None:
        try:
            code = await self._checks[role](session)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            # ValueError: a key or URL that no request can be made of.
            code = 0
        known = next((error.code for error in self._board.current() if error.role == role), OK)
        if code is not OK and code != known:
            error = ProviderError.now(role, self._names[role], code)
            self._board.report(error)
            logger.error("provider check failed: %s", error.message, extra={"role": role, "code": code})
        elif code is OK and known is not OK and settles(role, known):
            self._board.clear(role)
            logger.info("provider answers again", extra={"role": role})
