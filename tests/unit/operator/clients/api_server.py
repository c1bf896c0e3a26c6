"""An API server of a few answers, for the client."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from livekit_operator.clients.kubernetes import KubernetesClient
from livekit_operator.metrics import Metrics

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class ApiServer:
    """Answers what a test tells it to, and notes what it was asked."""

    client: KubernetesClient
    metrics: Metrics
    server: TestServer
    seen: list[Seen] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def answer(self, body: object, status: int = 200) -> None:
        """Answer the next request with JSON."""
        self.raw(json.dumps(body).encode(), status)

    def raw(self, body: bytes, status: int = 200) -> None:
        """Answer the next request with bytes."""

        async def handler(_: web.Request) -> web.StreamResponse:
            return web.Response(body=body, status=status, content_type="application/json")

        self.answers.append(handler)

    def refuse(self, status: int, reason: str, message: str = "refused") -> None:
        """Answer the next request with a Status object."""
        self.answer({"kind": "Status", "code": status, "reason": reason, "message": message}, status)

    def stream(self, *chunks: bytes, drop: bool = False) -> None:
        """Answer the next request with a stream, cut off in its middle when `drop`."""

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for chunk in chunks:
                await response.write(chunk)
            if drop:
                assert request.transport is not None
                request.transport.abort()
            return response

        self.answers.append(handler)

    def requests_counted(self, verb: str, resource: str, code: str) -> float | None:
        """Return the metric of requests."""
        labels = {"verb": verb, "resource": resource, "code": code}
        return self.metrics.registry.get_sample_value("livekit_operator_kubernetes_requests_total", labels)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note a request and give the next answer."""
        body = await request.read()
        self.seen.append(
            Seen(
                request.method,
                request.path,
                dict(request.query),
                dict(request.headers),
                json.loads(body) if body else None,
            )
        )
        return await self.answers.pop(0)(request)


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    application = web.Application()
    server = TestServer(application, host="127.0.0.1")
    configuration = Configuration(host="")
    configuration.api_key = {"BearerToken": "operator-token"}
    configuration.api_key_prefix = {"BearerToken": "Bearer"}
    metrics = Metrics()
    client = KubernetesClient(configuration, metrics)
    fake = ApiServer(client, metrics, server)
    application.router.add_route("*", "/{path:.*}", fake.handle)
    await server.start_server()
    configuration.host = str(server.make_url("")).rstrip("/")
    yield fake
    await client.close()
    await server.close()


async def listed(api: ApiServer, kind: str, selector: str | None = None) -> tuple[list[dict[str, Any]], str]:
    """Return the items of all pages and the version to watch from."""
    items: list[dict[str, Any]] = []
    version = ""
    async for page in api.client.pages(kind, selector):
        items = [*page.items] if page.first else [*items, *page.items]
        version = page.version
    return items, version


def named(*names: str) -> list[dict[str, Any]]:
    return [{"metadata": {"name": name, "managedFields": [{"manager": "kubectl"}]}} for name in names]


SECRET = {"metadata": {"name": "a", "namespace": "team", "resourceVersion": "8"}}
