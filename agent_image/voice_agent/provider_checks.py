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

from .config import NO_KEY, AgentConfig, ProviderConfig, RealtimeConfig, SttProvider, TtsProvider, key_variable
from .endpoints import deepgram_url, openai_url, realtime_url
from .provider_errors import KEY_REFUSED, ProviderError, ProviderErrorBoard
from .tool_checks import McpCheck
from .tool_config import McpServerConfig, header_values

logger = logging.getLogger(__name__)

INTERVAL = 30.0
TIMEOUT = aiohttp.ClientTimeout(total=10)
OK = None  # what a check returns when nothing is wrong; otherwise an HTTP status, 0 for no answer at all

Check = Callable[[aiohttp.ClientSession], Awaitable[int | None]]


def listen_url(config: SttProvider) -> str:
    """Where Deepgram's speech-to-text plugin connects, with the parameters a provider judges."""
    query = {
        "model": config.model,
        "language": config.language,
        "encoding": "linear16",
        "sample_rate": 16000,
        "channels": 1,
        "interim_results": str(config.interim_results).lower(),
        "endpointing": config.endpointing_ms or "false",
    }
    return _websocket(f"{deepgram_url(config.base_url, 'listen')}?{urlencode(query)}")


def speak_url(config: TtsProvider) -> str:
    """Where Deepgram's text-to-speech plugin connects, with the parameters a provider judges."""
    query = {"model": config.model, "encoding": "linear16", "sample_rate": config.sample_rate}
    return _websocket(f"{deepgram_url(config.base_url, 'speak')}?{urlencode(query)}")


def _websocket(url: str) -> str:
    return f"ws{url.removeprefix('http')}" if url.startswith("http") else url


def models_verdict(status: int) -> int | None:
    """What an answer to GET /models means: compatible endpoints need not have it, so a 404 is no error."""
    return status if status in {401, 402, 403, 429} or status >= 500 else OK


def settles(provider: ProviderConfig | McpServerConfig, code: int) -> bool:
    """Whether a check that passes disproves an error with this code met in a call.

    The list of models says nothing about a request that was refused for what it asked, and a plugin is not asked at
    all: that it refuses its key is so until it serves a call, or a pod has another key.
    """
    if isinstance(provider, McpServerConfig):
        return True
    if provider.provider == "plugin":
        return code not in KEY_REFUSED
    return provider.provider != "openai" or code == 0 or models_verdict(code) is not OK or code >= 1000


def _websocket_check(url: str, key: str, farewell: str) -> Check:
    async def check(session: aiohttp.ClientSession) -> int | None:
        try:
            async with session.ws_connect(url, headers={"Authorization": f"Token {key}"}) as socket:
                await socket.send_json({"type": farewell})
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        return OK

    return check


def _realtime_check(url: str, key: str) -> Check:
    async def check(session: aiohttp.ClientSession) -> int | None:
        try:
            async with session.ws_connect(url, headers={"Authorization": f"Bearer {key}"}):
                return OK
        except aiohttp.WSServerHandshakeError as error:
            return error.status

    return check


def _models_check(url: str, key: str) -> Check:
    async def check(session: aiohttp.ClientSession) -> int | None:
        async with session.get(url, headers={"Authorization": f"Bearer {key}"}, allow_redirects=False) as response:
            return models_verdict(response.status)

    return check


def check_of(provider: ProviderConfig, key: str) -> Check:
    """How a provider is asked."""
    match provider:
        case SttProvider(provider="deepgram"):
            return _websocket_check(listen_url(provider), key, "CloseStream")
        case TtsProvider(provider="deepgram"):
            return _websocket_check(speak_url(provider), key, "Close")
    if provider.provider == "plugin":
        return _not_asked
    if isinstance(provider, RealtimeConfig):
        return _realtime_check(
            _websocket(f"{realtime_url(provider.base_url)}?{urlencode({'model': provider.model})}"), key
        )
    return _models_check(f"{openai_url(provider.base_url)}/models", key)


async def _not_asked(_: aiohttp.ClientSession) -> int | None:
    """A plugin has no way to be asked that is known here: what a call told of it is believed until the next look."""
    return OK


class ProviderMonitor:
    """Keeps the board of provider errors true outside calls."""

    def __init__(self, config: AgentConfig, environ: Mapping[str, str], board: ProviderErrorBoard) -> None:
        servers = {f"tools.{place}": server for place, server in config.tools.servers.items()}
        self._providers: dict[str, ProviderConfig | McpServerConfig] = {**config.providers, **servers}
        self._checks: dict[str, Check] = {
            place: check_of(provider, environ.get(key_variable(place)) or NO_KEY)
            for place, provider in config.providers.items()
        }
        for place, server in config.tools.servers.items():
            self._checks[f"tools.{place}"] = McpCheck(server.url, header_values(place, server.headers, environ))
        self._board = board

    async def run(self, interval: float = INTERVAL) -> None:
        connector = aiohttp.TCPConnector(ssl=http_context._create_ssl_context())
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT, trust_env=True) as session:
            await self.check(session, list(self._checks))
            while True:
                await asyncio.sleep(interval)
                await self.check(session, [error.role for error in self._board.current()])

    async def check(self, session: aiohttp.ClientSession, places: list[str]) -> None:
        await asyncio.gather(*(self._check(session, place) for place in places))

    async def _check(self, session: aiohttp.ClientSession, place: str) -> None:
        provider = self._providers[place]
        try:
            code = await self._checks[place](session)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            # ValueError: a key or URL that no request can be made of.
            code = 0
        known = next((error.code for error in self._board.current() if error.role == place), OK)
        if code is not OK and code != known:
            error = ProviderError.now(place, provider.name, code)
            self._board.report(error)
            logger.error("provider check failed: %s", error.message, extra={"role": place, "code": code})
        elif code is OK and known is not OK and settles(provider, known):
            self._board.clear(place)
            logger.info("provider answers again", extra={"role": place})
