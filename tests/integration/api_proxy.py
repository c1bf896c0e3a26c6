"""A stand-in for the way to the API server: requests pass, are held back, or find nobody.

async with api_proxy(admin) as proxy:
    client = KubernetesClient(proxy.configuration, metrics)
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
from aiohttp import web
from kubernetes.aio.client import Configuration
from yarl import URL

_HEADERS = ("Accept", "Content-Type", "Retry-After")


class ApiProxy:
    """A server on a port of this machine that passes requests on with an administrator's certificate."""

    def __init__(self, admin: Configuration, session: aiohttp.ClientSession) -> None:
        self._admin = admin
        self._session = session
        self._passing: set[asyncio.Transport] = set()
        self._is_held: Callable[[web.BaseRequest], bool] = lambda _: False
        self._released = asyncio.Event()
        self._closed = False
        self.held: list[str] = []
        """Paths of what waits now."""
        self.refused: list[str] = []
        """Paths of what came while it was closed."""
        self.configuration = Configuration()

    def hold(self, which: Callable[[web.BaseRequest], bool]) -> None:
        """Keep such requests without an answer from now on."""
        self._is_held, self._released = which, asyncio.Event()

    def release(self) -> None:
        """Pass on what is held, and hold nothing more."""
        self._is_held = lambda _: False
        self._released.set()

    def close(self) -> None:
        """End every connection, and each that comes, until it is opened."""
        self._closed = True
        for transport in self._passing:
            transport.abort()

    def open(self) -> None:
        """Let requests pass again."""
        self._closed = False

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass a request on, and what comes back as it comes."""
        transport = request.transport
        assert transport is not None
        self._passing.add(transport)
        try:
            if not self._closed and self._is_held(request):
                await self._wait(request.path)
            if not self._closed:
                return await self._pass_on(request)
            self.refused.append(request.path)
        except aiohttp.ClientError:  # nobody on the other side either
            pass
        finally:
            self._passing.discard(transport)
        transport.abort()
        return web.Response()

    async def _wait(self, path: str) -> None:
        self.held.append(path)
        try:
            await self._released.wait()
        finally:
            self.held.remove(path)

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        url = URL(self._admin.host + request.raw_path, encoded=True)
        headers = {name: request.headers[name] for name in _HEADERS if name in request.headers}
        body = await request.read() if request.body_exists else None
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            named = {name: answer.headers[name] for name in _HEADERS if name in answer.headers}
            response = web.StreamResponse(status=answer.status, headers=named)
            await response.prepare(request)
            with suppress(ConnectionError):  # whoever asked is gone
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
        return response


@asynccontextmanager
async def api_proxy(admin: Configuration) -> AsyncIterator[ApiProxy]:
    """Serve on a port of the system's choice; `configuration` leads there, without credentials."""
    context = ssl.create_default_context(cafile=admin.ssl_ca_cert)
    assert admin.cert_file is not None
    context.load_cert_chain(admin.cert_file, admin.key_file)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        proxy = ApiProxy(admin, session)
        # Whoever gives up a watch ends it on the other side as well.
        server = web.ServerRunner(web.Server(proxy.answer, access_log=None, handler_cancellation=True))
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        proxy.configuration.host = f"http://127.0.0.1:{server.addresses[0][1]}"
        try:
            yield proxy
        finally:
            proxy.release()
            proxy.close()
            await server.cleanup()
