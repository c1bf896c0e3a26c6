"""HTTP to servers and pods that may run anybody's image: they lead nowhere else, and what they say has a bound.

Nothing that they answer is followed, decompressed, remembered as a cookie, or read further than whoever asks can hold.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

_CHUNK_BYTES = 65536
# How long at most the other end of a websocket may take to say goodbye.
_CLOSING_SECONDS = 1.0


class TooLong(ValueError):
    """The answer is longer than one of its kind can be."""


def session(limits: aiohttp.ClientTimeout, **connector: Any) -> aiohttp.ClientSession:
    """Return a session for requests by `asking`; `connector` are options of aiohttp's."""
    return aiohttp.ClientSession(
        timeout=limits,
        connector=aiohttp.TCPConnector(**connector),
        cookie_jar=aiohttp.DummyCookieJar(),
        # A kilobyte of compressed zeroes is a megabyte.
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
    )


def asking(opened: aiohttp.ClientSession, method: str, url: str, **options: Any) -> Any:
    """Return the context of a request whose answer is the stranger's own: a redirect is an answer like any other."""
    return opened.request(method, url, allow_redirects=False, **options)


@asynccontextmanager
async def talking(
    limits: aiohttp.ClientTimeout, url: str, most: int, headers: dict[str, str]
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Open a websocket; raises ValueError when it leads elsewhere. A message of more than `most` bytes ends it."""
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(_stay)  # aiohttp's websockets have no other way to follow none
    closing = aiohttp.ClientWSTimeout(ws_close=_CLOSING_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=limits, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[tracing]) as opened,
        opened.ws_connect(url, headers=headers, max_msg_size=most, compress=0, timeout=closing) as talk,
    ):
        yield talk


async def _stay(_session: Any, _context: Any, redirect: aiohttp.TraceRequestRedirectParams) -> None:
    raise ValueError(f"it answers {redirect.response.status}, which leads elsewhere and is not followed")


async def chunks(response: aiohttp.ClientResponse, most: int) -> AsyncIterator[bytes]:
    """Yield the body in pieces; raises TooLong after `most` bytes, ValueError when it is compressed all the same."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise ValueError("it is compressed, which it was not asked to be")
    length = 0
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        length += len(chunk)
        if length > most:
            raise TooLong(f"it has more than {most} bytes")
        yield chunk


async def body(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the whole body; raises what `chunks` raises."""
    read = bytearray()
    async for chunk in chunks(response, most):
        read += chunk
    return bytes(read)
