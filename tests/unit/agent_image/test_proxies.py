"""Which way the agent's connections take."""

from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from livekit.agents.utils import http_context

from voice_agent import proxies

PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("environ", "added"),
    [
        ({}, {}),
        ({"HTTPS_PROXY": PROXY}, {"wss_proxy": PROXY}),
        ({"http_proxy": PROXY}, {"ws_proxy": PROXY}),
        ({"HTTPS_PROXY": PROXY, "wss_proxy": "http://other:1"}, {}),
        ({"HTTPS_PROXY": ""}, {}),
    ],
)
def test_websockets_take_the_proxies_of_requests(environ: dict[str, str], added: dict[str, str]) -> None:
    changed = dict(environ)
    proxies.name_for_websockets(changed)
    assert changed == {**environ, **added}


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http", "https", "ws", "wss", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_PROXY".upper(), raising=False)


def job(closers: list[Any]) -> Any:
    return SimpleNamespace(add_shutdown_callback=closers.append)


def test_without_a_proxy_all_stays_as_it_is() -> None:
    closers: list[Any] = []
    proxies.use_in(job(closers))
    assert closers == []


@pytest.mark.parametrize(("no_proxy", "way"), [("", "proxy"), ("provider.invalid", None)])
async def test_plugins_connect_through_the_proxy_unless_excepted(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, way: str | None
) -> None:
    async def proxy(_: web.BaseRequest) -> web.Response:
        return web.Response(status=418)

    async with RawTestServer(proxy) as server:
        monkeypatch.setenv("ws_proxy", str(server.make_url("")))
        monkeypatch.setenv("NO_PROXY", no_proxy)
        closers: list[Any] = []
        proxies.use_in(job(closers))
        refused = aiohttp.WSServerHandshakeError if way else aiohttp.ClientConnectorDNSError
        with pytest.raises(refused):
            await http_context.http_session().ws_connect("ws://provider.invalid/v1/listen")
        for close in closers:
            await close()
