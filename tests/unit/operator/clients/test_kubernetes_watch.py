"""Lists in pages and watches: expired, cut off, silent, or of objects that cannot be read."""

import asyncio
import json
import socket
from typing import Any

import pytest
from aiohttp import web

from livekit_operator.clients.decoding import UNREAD
from livekit_operator.clients.kubernetes import WatchEvent, WatchExpired, WatchSilent
from livekit_operator.errors import KubernetesError
from tests.unit.operator.clients.api_server import SECRET, ApiServer, listed, named


def watch_line(kind: str, name: str, version: str) -> bytes:
    manifest = {"metadata": {"namespace": "team", "name": name, "resourceVersion": version}}
    return json.dumps({"type": kind, "object": manifest}).encode() + b"\n"


async def watched(api: ApiServer) -> list[WatchEvent]:
    return [event async for event in api.client.watch("Secret", "7", "a=b")]


async def test_a_list_goes_on_page_by_page(api: ApiServer) -> None:
    api.answer({"metadata": {"resourceVersion": "9", "continue": "next"}, "items": named("a", "b")})
    api.answer({"metadata": {"resourceVersion": "9", "continue": ""}, "items": named("c")})
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
    api.answer({"metadata": {"resourceVersion": "9", "continue": "next"}, "items": named("a")})
    offer = {"kind": "Status", "code": 410, "reason": "Expired", "message": "m", "metadata": {"continue": "later"}}
    api.answer(offer, 410)
    api.answer({"metadata": {"resourceVersion": "12"}, "items": named("b")})
    items, version = await listed(api, "Secret", "app=x")
    assert ([item["metadata"]["name"] for item in items], version) == (["a", "b"], "9"), "what changed since is watched"
    assert api.seen[2].query == {"labelSelector": "app=x", "limit": "500", "continue": "later"}


async def test_a_list_whose_pages_expired_is_begun_anew_in_pages(api: ApiServer) -> None:
    api.answer({"metadata": {"resourceVersion": "9", "continue": "next"}, "items": named("a", "gone")})
    api.refuse(410, "Expired")
    api.answer({"metadata": {"resourceVersion": "12", "continue": "next"}, "items": named("a")})
    api.answer({"metadata": {"resourceVersion": "12"}, "items": named("b")})
    items, version = await listed(api, "Secret", "app=x")
    assert ([item["metadata"]["name"] for item in items], version) == (["a", "b"], "12")
    assert api.seen[2].query == {"labelSelector": "app=x", "limit": "500"}


async def test_a_list_whose_pages_always_expire_ends(api: ApiServer) -> None:
    for _ in range(6):
        api.answer({"metadata": {"resourceVersion": "9", "continue": "next"}, "items": named("a")})
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
