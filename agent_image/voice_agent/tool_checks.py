"""Whether a server of the Model Context Protocol answers, asked in its protocol: before a caller finds out.

Without the library's client, which is 22 MiB that the worker has no other use for. Source of the request and of the
session's end: https://modelcontextprotocol.io/specification/2025-06-18/basic/transports
"""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

_SESSION = "Mcp-Session-Id"
_ACCEPT = {"Accept": "application/json, text/event-stream"}
_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "livekit-operator", "version": "1"},
    },
}


class McpCheck:
    """A server's `initialize`; the session that it begins is ended at once."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url
        self._headers = headers

    async def __call__(self, session: aiohttp.ClientSession) -> int | None:
        """None when it answers, otherwise an HTTP status; raises what aiohttp raises."""
        headers = {**_ACCEPT, **self._headers}
        async with session.post(self._url, json=_INITIALIZE, headers=headers, allow_redirects=False) as response:
            if not response.ok or response.status >= 300:
                return response.status
            begun = response.headers.get(_SESSION)
        if begun:
            ended = {**headers, _SESSION: begun}
            async with session.delete(self._url, headers=ended, allow_redirects=False):
                pass
        return None
