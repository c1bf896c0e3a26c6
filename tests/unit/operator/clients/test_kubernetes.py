"""The client against the bytes of an API server: what it sends, and what it makes of each answer."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from livekit_operator.clients.decoding import UNREAD
from livekit_operator.clients.kubernetes import KubernetesClient, WatchEvent, WatchExpired, WatchSilent
from livekit_operator.errors import Conflict, KubernetesError, NamespaceTerminating, NotFound
from livekit_operator.metrics import Metrics
from tests.fakes import manifests

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


def watch_line(kind: str, name: str, version: str) -> bytes:
    manifest = {"metadata": {"namespace": "team", "name": name, "resourceVersion": version}}
    return json.dumps({"type": kind, "object": manifest}).encode() + b"\n"


async def watched(api: ApiServer) -> list[WatchEvent]:
    return [event async for event in api.client.watch("Secret", "7", "a=b")]


async def listed(api: ApiServer, kind: str, selector: str | None = None) -> tuple[list[dict[str, Any]], str]:
    """Return the items of all pages and the version to watch from."""
    items: list[dict[str, Any]] = []
    version = ""
    async for page in api.client.pages(kind, selector):
        items = [*page.items] if page.first else [*items, *page.items]
        version = page.version
    return items, version


ROOM = manifests.room()


async def test_get(api: ApiServer) -> None:
    api.answer(ROOM)
    assert await api.client.get("MeetingRoom", "team", "support-42") == ROOM
    [request] = api.seen
    assert request.method == "GET"
    assert request.path == "/apis/livekit-operator.dev/v1alpha1/namespaces/team/meetingrooms/support-42"
    assert request.headers["Authorization"] == "Bearer operator-token"
    assert request.headers["Accept"] == "application/json"
    assert api.requests_counted("GET", "meetingrooms", "200") == 1


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [
        ("Pod", "/api/v1/namespaces/n/pods/x"),
        ("Deployment", "/apis/apps/v1/namespaces/n/deployments/x"),
        ("LiveKitServer", "/apis/livekit-operator.dev/v1alpha1/namespaces/n/livekitservers/x"),
    ],
)
async def test_each_kind_has_its_place(api: ApiServer, kind: str, prefix: str) -> None:
    api.answer({})
    await api.client.get(kind, "n", "x")
    assert api.seen[0].path == prefix


async def test_create(api: ApiServer) -> None:
    api.answer(ROOM, 201)
    await api.client.create(ROOM)
    [request] = api.seen
    assert (request.method, request.path) == (
        "POST",
        "/apis/livekit-operator.dev/v1alpha1/namespaces/team/meetingrooms",
    )
    assert request.query == {"fieldManager": "livekit-operator"}
    assert request.headers["Content-Type"] == "application/json"
    assert request.body == ROOM


async def test_apply_is_server_side_and_takes_fields_over(api: ApiServer) -> None:
    secret = manifests.secret("s", a="b")
    api.answer(secret)
    assert await api.client.apply(secret) == secret
    [request] = api.seen
    assert (request.method, request.path) == ("PATCH", "/api/v1/namespaces/team/secrets/s")
    assert request.query == {"fieldManager": "livekit-operator", "force": "true"}
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert request.body == secret


async def test_merge_of_a_status(api: ApiServer) -> None:
    api.answer(ROOM)
    await api.client.merge("MeetingRoom", "team", "support-42", {"status": {"sid": None}}, subresource="status")
    [request] = api.seen
    assert request.method == "PATCH"
    assert request.path.endswith("/meetingrooms/support-42/status")
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    assert request.body == {"status": {"sid": None}}


async def test_delete_names_the_very_object(api: ApiServer) -> None:
    api.answer({})
    await api.client.delete("Pod", "team", "p", uid="u-1")
    [request] = api.seen
    assert (request.method, request.path) == ("DELETE", "/api/v1/namespaces/team/pods/p")
    assert request.body == {"propagationPolicy": "Background", "preconditions": {"uid": "u-1"}}


@pytest.mark.parametrize(("status", "reason"), [(404, "NotFound"), (409, "Conflict")])
async def test_deleting_what_is_gone_or_another_is_fine(api: ApiServer, status: int, reason: str) -> None:
    api.refuse(status, reason)
    await api.client.delete("Pod", "team", "p", uid="u-1")


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", Conflict),
        (403, "Forbidden", KubernetesError),
        (422, "Invalid", KubernetesError),
        (429, "TooManyRequests", KubernetesError),
        (500, "InternalError", KubernetesError),
    ],
)
async def test_errors_of_the_api_server(api: ApiServer, status: int, reason: str, error: type[KubernetesError]) -> None:
    api.refuse(status, reason, "the words of the API server")
    with pytest.raises(error, match="the words of the API server") as caught:
        await api.client.create(ROOM)
    assert (type(caught.value), caught.value.status, caught.value.reason) == (error, status, reason)
    assert api.requests_counted("POST", "meetingrooms", str(status)) == 1


async def test_a_namespace_that_goes_is_told_from_other_refusals(api: ApiServer) -> None:
    causes = [{"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}]
    refusal = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "m", "details": {"causes": causes}}
    api.answer(refusal, 403)
    with pytest.raises(NamespaceTerminating):
        await api.client.create(ROOM)


@pytest.mark.parametrize("body", [b"<html>502 Bad Gateway</html>", b"[]", b"\xff", b""])
async def test_an_answer_of_a_proxy_is_an_error(api: ApiServer, body: bytes) -> None:
    api.raw(body, 502)
    with pytest.raises(KubernetesError) as caught:
        await api.client.get("Pod", "team", "p")
    assert caught.value.status == 502


async def test_an_answer_that_is_no_json_is_an_error(api: ApiServer) -> None:
    api.raw(b"<html>")
    with pytest.raises(KubernetesError, match="GET /api/v1/namespaces/team/pods/p"):
        await api.client.get("Pod", "team", "p")


@pytest.mark.parametrize("verb", ["get", "list"])
async def test_an_answer_that_is_cut_off_is_an_error(api: ApiServer, verb: str) -> None:
    api.stream(b'{"metadata": {', drop=True)
    with pytest.raises(KubernetesError):
        await (api.client.get("Pod", "team", "p") if verb == "get" else listed(api, "Pod"))


async def test_a_server_that_is_gone_is_an_error(api: ApiServer) -> None:
    await api.server.close()
    for call in (api.client.get("Pod", "team", "p"), listed(api, "Pod"), api.client.create(ROOM)):
        with pytest.raises(KubernetesError) as caught:
            await call
        assert caught.value.status == 0
    assert api.requests_counted("GET", "pods", "none") == 2


def _named(*names: str) -> list[dict[str, Any]]:
    return [{"metadata": {"name": name, "managedFields": [{"manager": "kubectl"}]}} for name in names]


async def test_a_list_goes_on_page_by_page(api: ApiServer) -> None:
    api.answer({"metadata": {"resourceVersion": "9", "continue": "next"}, "items": _named("a", "b")})
    api.answer({"metadata": {"resourceVersion": "9", "continue": ""}, "items": _named("c")})
    items, version = await listed(api, "Secret", "app=x")
    says = {"apiVersion": "v1", "kind": "Secret"}  # the items of a list do not
    assert (items, version) == ([{**says, "metadata": {"name": name}} for name in ("a", "b", "c")], "9")
    assert [request.query.get("continue") for request in api.seen] == [None, "next"]
    assert all(request.query["labelSelector"] == "app=x" for request in api.seen)
    assert all(request.path == "/api/v1/secrets" for request in api.seen)


async def test_an_empty_list(api: ApiServer) -> None:
    api.answer({"metadata": {"resourceVersion": "9"}, "items": None})
    assert await listed(api, "Secret") == ([], "9")
    assert "labelSelector" not in api.seen[0].query


async def test_a_list_whose_pages_expired_goes_on_where_the_server_offers_it(api: ApiServer) -> None:
    api.answer({"metadata": {"resourceVersion": "9", "continue": "next"}, "items": _named("a")})
    offer = {"kind": "Status", "code": 410, "reason": "Expired", "message": "m", "metadata": {"continue": "later"}}
    api.answer(offer, 410)
    api.answer({"metadata": {"resourceVersion": "12"}, "items": _named("b")})
    items, version = await listed(api, "Secret", "app=x")
    assert ([item["metadata"]["name"] for item in items], version) == (["a", "b"], "9"), "what changed since is watched"
    assert api.seen[2].query == {"labelSelector": "app=x", "limit": "500", "continue": "later"}


async def test_a_list_whose_pages_expired_is_begun_anew_in_pages(api: ApiServer) -> None:
    api.answer({"metadata": {"resourceVersion": "9", "continue": "next"}, "items": _named("a", "gone")})
    api.refuse(410, "Expired")
    api.answer({"metadata": {"resourceVersion": "12", "continue": "next"}, "items": _named("a")})
    api.answer({"metadata": {"resourceVersion": "12"}, "items": _named("b")})
    items, version = await listed(api, "Secret", "app=x")
    assert ([item["metadata"]["name"] for item in items], version) == (["a", "b"], "12")
    assert api.seen[2].query == {"labelSelector": "app=x", "limit": "500"}


async def test_a_list_whose_pages_always_expire_ends(api: ApiServer) -> None:
    for _ in range(6):
        api.answer({"metadata": {"resourceVersion": "9", "continue": "next"}, "items": _named("a")})
        api.refuse(410, "Expired")
    with pytest.raises(KubernetesError, match="Expired"):
        await listed(api, "Secret")
    assert not api.answers


async def test_a_list_that_is_expired_from_the_start_is_an_error(api: ApiServer) -> None:
    api.refuse(410, "Expired")
    with pytest.raises(KubernetesError, match="Expired"):
        await listed(api, "Secret")


async def test_a_watch_yields_until_the_server_ends_it(api: ApiServer) -> None:
    first, second = watch_line("ADDED", "a", "8"), watch_line("BOOKMARK", "", "9")
    api.stream(first[:10], first[10:] + second)
    events = await watched(api)
    assert [(event.type, event.object["metadata"]["resourceVersion"]) for event in events] == [
        ("ADDED", "8"),
        ("BOOKMARK", "9"),
    ]
    [request] = api.seen
    assert request.path == "/api/v1/secrets"
    assert request.query == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": "7",
        "timeoutSeconds": "300",
        "labelSelector": "a=b",
    }


async def test_a_watched_object_may_be_large(api: ApiServer) -> None:
    """A ConfigMap or a Secret has up to 1 MiB, JSON escapes not counted."""
    manifest = {"metadata": {"name": "a", "resourceVersion": "8"}, "data": {"text": '"' * (1 << 20)}}
    api.stream(json.dumps({"type": "ADDED", "object": manifest}).encode() + b"\n")
    [event] = await watched(api)
    assert event.object == manifest


@pytest.mark.parametrize("how", ["event", "status"])
async def test_a_watch_from_too_old_a_version_expires(api: ApiServer, how: str) -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    if how == "event":
        api.stream(watch_line("ADDED", "a", "8"), json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
    else:
        api.answer(status, 410)
    with pytest.raises(WatchExpired, match="too old"):
        await watched(api)


async def test_another_error_in_a_watch_is_no_expiry(api: ApiServer) -> None:
    status = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd"}
    api.stream(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
    with pytest.raises(KubernetesError, match="500 InternalError: etcd"):
        await watched(api)


@pytest.mark.parametrize("rest", [b"", b'{"type": "ADD'], ids=["between events", "in an event"])
async def test_a_watch_that_is_cut_off_is_an_error(api: ApiServer, rest: bytes) -> None:
    api.stream(watch_line("ADDED", "a", "8"), rest, drop=True)
    with pytest.raises(KubernetesError, match="watch of secrets"):
        await watched(api)


async def test_a_watch_that_is_left_closes_its_connection(api: ApiServer) -> None:
    left = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(watch_line("ADDED", "a", "8"))
        try:
            while True:
                await asyncio.sleep(0.005)
                await response.write(b"")
                if request.transport is None or request.transport.is_closing():
                    break
        finally:
            left.set()
        return response

    api.answers.append(endless)
    stream = api.client.watch("Secret", "7")
    assert (await anext(stream)).type == "ADDED"
    await stream.aclose()  # type: ignore[attr-defined]
    await asyncio.wait_for(left.wait(), 5)


async def test_a_refused_watch_is_an_error(api: ApiServer) -> None:
    api.refuse(403, "Forbidden")
    with pytest.raises(KubernetesError, match="Forbidden"):
        await watched(api)


SECRET = {"metadata": {"name": "a", "namespace": "team", "resourceVersion": "8"}}
DEEP = (
    b'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"bad","namespace":"team","uid":"u","resourceVersion":"9"},'
    b'"data":' + b'{"a":' * 1100 + b"{}" + b"}" * 1101
)


def is_stub(manifest: dict[str, Any]) -> bool:
    return bool(manifest["metadata"]["name"] == "bad") and manifest[UNREAD] == "it is nested too deeply"


async def test_a_page_has_the_others_of_one_that_cannot_be_read(
    api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    good = json.dumps(SECRET).encode()
    nameless = b'{"metadata":{"uid":"u"}}'
    items = b",".join([good, DEEP, nameless, good])
    api.raw(b'{"items":[' + items + b'],"kind":"SecretList","metadata":{"resourceVersion":"9"}}')
    found, version = await listed(api, "Secret")
    assert [item["metadata"]["name"] for item in found] == ["a", "bad", "a"]
    assert is_stub(found[1])
    assert version == "9"
    assert api.metrics.registry.get_sample_value("livekit_operator_unread_objects_total", {"resource": "secrets"}) == 2
    assert "Secret team/bad is not read: it is nested too deeply" in caplog.text


async def test_a_watch_gets_past_what_cannot_be_read(api: ApiServer) -> None:
    lines = [watch_line("ADDED", "a", "8")]
    lines += [b'{"type":"MODIFIED","object":' + DEEP + b"}\n", b"{" * 5000 + b"\n", b'{"type":"ADDED"}\n', b"7\n"]
    lines += [b'{"type":"DELETED","object":' + DEEP + b"}\n", watch_line("ADDED", "b", "10")]
    api.stream(*lines)
    events = await watched(api)
    assert [(event.type, event.object["metadata"]["name"]) for event in events] == [
        ("ADDED", "a"),
        ("MODIFIED", "bad"),
        ("DELETED", "bad"),
        ("ADDED", "b"),
    ]
    assert is_stub(events[1].object)
    assert api.metrics.registry.get_sample_value("livekit_operator_unread_objects_total", {"resource": "secrets"}) == 5


async def test_a_watch_gets_past_a_line_of_any_length(api: ApiServer) -> None:
    begin = b'{"type":"ADDED","object":{"metadata":{"name":"bad","resourceVersion":"9"},"data":{"text":"'
    api.stream(begin, *[b"<" * 2**20] * 11, b'"}}}\n' + watch_line("ADDED", "b", "10"))
    events = await watched(api)
    assert [event.object["metadata"]["name"] for event in events] == ["bad", "b"]
    assert "longer than" in events[0].object[UNREAD]


async def test_an_answer_that_cannot_be_read_is_a_stub(api: ApiServer) -> None:
    api.raw(DEEP)
    assert is_stub(await api.client.get("Secret", "team", "bad"))


async def test_pages_are_smaller_where_objects_are_large(api: ApiServer) -> None:
    asked: list[str] = []
    large = {"metadata": {"name": "a"}, "data": {"text": "x" * 2**20}}

    async def some(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["limit"])
        items = [large] * int(request.query["limit"])
        more = "" if request.query.get("continue") else "next"
        return web.json_response({"metadata": {"resourceVersion": "9", "continue": more}, "items": items[:20]})

    api.answers += [some] * 5
    found, _ = await listed(api, "Secret")
    assert asked == ["500", "125", "31", "7", "7"]
    assert len(found) == 14


async def test_a_silent_watch_ends(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livekit_operator.clients.kubernetes.SILENT_SECONDS", 0.05)
    left = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(watch_line("ADDED", "a", "8"))
        await left.wait()
        return response

    api.answers.append(silent)
    with pytest.raises(WatchSilent, match="watch of secrets: nothing for"):
        await watched(api)
    left.set()


async def test_a_peer_that_is_gone_is_noticed_by_tcp(api: ApiServer) -> None:
    options: list[tuple[int, ...]] = []

    class Socket(socket.socket):
        def setsockopt(self, *option: Any) -> None:
            options.append(option)
            super().setsockopt(*option)

    api.answer(SECRET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("livekit_operator.clients.api_transport.socket.socket", Socket)
        await api.client.get("Secret", "team", "a")
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in options
    assert (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20) in options


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_asks_to_be_left_alone_is(
    api: ApiServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("livekit_operator.clients.api_transport.asyncio.sleep", sleep)

    def busy(after: str) -> Answer:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers={"Retry-After": after}, text="busy")

        return answer

    api.answers += [busy("1"), busy("3600")]
    api.answer(SECRET)
    assert await api.client.create(ROOM) == SECRET
    assert slept == [1, 10], "an hour is too long"
    assert api.seen[0].body == api.seen[2].body == ROOM
    api.answers += [busy("1")] * 4
    with pytest.raises(KubernetesError, match="busy"):
        await api.client.create(ROOM)
    api.answers += [busy("tomorrow")]
    with pytest.raises(KubernetesError, match="busy"):
        await api.client.create(ROOM)
    assert slept == [1, 10, 1, 1, 1]


async def test_a_long_error_is_not_read_whole(api: ApiServer) -> None:
    api.raw(b"x" * 2**21, 500)
    with pytest.raises(KubernetesError) as caught:
        await api.client.get("Secret", "team", "a")
    assert len(str(caught.value)) < 1000


async def test_the_newest_version_of_a_kind(api: ApiServer) -> None:
    api.answer({"metadata": {"resourceVersion": "77", "continue": "more"}, "items": _named("a")})
    assert await api.client.newest("Secret") == "77"
    assert api.seen[0].query == {"limit": "1"}
