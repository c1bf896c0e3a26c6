"""Proxies as the usual environment variables name them, NO_PROXY included.

The library opens a job's connections through HTTPS_PROXY wherever they lead (utils/http_context.py), and aiohttp's
own reading of the environment knows no proxy for websockets but the one named after their scheme.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from urllib.request import getproxies

import aiohttp
from livekit.agents import JobContext
from livekit.agents.utils import http_context

_SCHEMES = {"ws_proxy": "http_proxy", "wss_proxy": "https_proxy"}


def name_for_websockets(environ: MutableMapping[str, str]) -> None:
    """Have websockets take the same proxies as requests."""
    for websockets, requests in _SCHEMES.items():
        if proxy := environ.get(requests) or environ.get(requests.upper()):
            environ.setdefault(websockets, proxy)


def use_in(ctx: JobContext) -> None:
    """Let a job's plugins connect as the environment says; where it names no proxy all stays as it is."""
    if not getproxies():
        return
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=http_context._create_ssl_context()), trust_env=True
    )
    # seen by whatever the entrypoint starts; the library closes the session it would have used itself
    http_context._ContextVar.set(lambda: session)
    ctx.add_shutdown_callback(session.close)
