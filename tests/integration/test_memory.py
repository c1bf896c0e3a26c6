"""The operator stays within the memory of its chart, whatever strangers put before it, and goes on for the others.

It runs as a process of its own, at an API server and with senders of webhooks that do all of this at once over HTTP.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from livekit import api

from livekit_operator.clients.decoding import MOST_BYTES, MOST_VALUES
from livekit_operator.constants import API_VERSION, LABEL_MANAGED_BY, MANAGED_BY
from tests.fakes.limited import MEMORY, SERVER
from tests.fakes.manifests import API_KEY, API_SECRET
from tests.fakes.waiting import eventually, eventually_async
from tests.harness.bound import ENDS_WITH_US

MIB = 2**20
PAGE = 500


def item(name: str, rest: bytes, owner: str = "", namespace: str = "mallory") -> bytes:
    """Return an object as the API server writes it; `rest` is what follows its metadata."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "uid": name, "resourceVersion": "5"}
    metadata |= {"generation": 1, "labels": {LABEL_MANAGED_BY: MANAGED_BY}}
    if owner:
        reference = {"apiVersion": API_VERSION, "kind": "MeetingRoom", "name": owner, "uid": owner, "controller": True}
        metadata["ownerReferences"] = [reference]
    return b'{"metadata":' + json.dumps(metadata).encode() + b"," + rest + b"}"


def named(prefix: str, count: int, rest: bytes, owner: str = "") -> Iterator[bytes]:
    return (item(f"{prefix}-{number}", rest, owner) for number in range(count))


def config(extra: bytes) -> bytes:
    return b'"spec":{"extraConfig":' + extra + b"}"


NESTED = b'{"a":' * 3000 + b"{}" + b"}" * 3000
ALMOST = b'{"a":[' + b"[]," * (MOST_VALUES // 2 - 100) + b"[]]}"
WIDE = b'{"a":[' + b"[]," * (MIB // 2) + b"[]]}"
TEXT = b'"data":{"a":"' + b"x" * MIB + b'"}'
ESCAPED = b'"data":{"a":"' + b"\\u003c" * MIB + b'"}'
ROOM = b'"spec":{"serverRef":{"name":"none"}}'
LARGE_ROOM = b'"spec":{"serverRef":{"name":"none"},"metadata":"' + b"x" * MIB + b'"}'


@dataclass
class HostileApi:
    """An API server that is full of what mallory made; one room of another team is among it."""

    written: set[str] = field(default_factory=set)
    watched: set[str] = field(default_factory=set)

    def stored(self, plural: str) -> Iterator[bytes]:
        """Yield all objects of a kind."""
        if plural == "livekitservers":
            yield from named("deep", 5, config(NESTED))
            yield from named("wide", 3, config(WIDE))
            yield from named("almost", 40, config(ALMOST))
        elif plural == "meetingrooms":
            yield from named("large", 60, LARGE_ROOM)
            yield item("good", ROOM, namespace="team")
        elif plural == "configmaps":
            yield from named("stranger", 6, ESCAPED)
            yield from named("forged", 50, TEXT, owner="large-0")
        elif plural == "secrets":
            yield from named("forged", 50, TEXT, owner="large-0")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer lists, watches and writes."""
        *_, plural = request.path.split("/")
        if request.method == "GET" and request.query.get("watch"):
            return await self._watch(request, plural)
        if request.method == "GET" and "limit" in request.query:
            return await self._list(request, plural)
        if request.method in ("PATCH", "POST"):
            return await self._write(request)
        if request.method == "GET":
            *_, resource, name = request.path.split("/")
            found = [raw for raw in self.stored(resource) if json.dumps(name).encode() in raw[:100]]
            if found:
                return web.Response(body=found[0], content_type="application/json")
        return web.json_response({"reason": "NotFound", "code": 404}, status=404)

    async def _write(self, request: web.Request) -> web.Response:
        parts = request.path.removesuffix("/status").split("/")
        body = await request.json()
        metadata = {**body.get("metadata", {}), "uid": "u", "resourceVersion": "6", "generation": 1}
        if request.method == "PATCH":
            metadata |= {"namespace": parts[-3], "name": parts[-1]}
            self.written.add(f"{parts[-3]}/{parts[-1]}")
        metadata.setdefault("name", "generated")
        return web.json_response({"spec": {"serverRef": {"name": "none"}}, **body, "metadata": metadata})

    async def _list(self, request: web.Request, plural: str) -> web.StreamResponse:
        start, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await response.write(b'{"items":[')
            more = ""
            for number, raw in enumerate(self.stored(plural)):
                if number >= start + limit:
                    more = str(number)
                    break
                if number >= start:
                    await response.write((b"," if number > start else b"") + raw)
            metadata = {"resourceVersion": "5", "continue": more}
            await response.write(b'],"metadata":' + json.dumps(metadata).encode() + b"}")
        except ConnectionError:
            pass  # what was too long for one page
        return response

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        begin = b'{"type":"ADDED","object":'
        try:
            for number in range(1):
                await response.write(begin + item(f"deep-{number}", config(NESTED)) + b"}\n")
                await response.write(begin + item(f"long-{number}", b'"a":"')[:-1])
                for _ in range(MOST_BYTES // MIB + 1):
                    await response.write(b"x" * MIB)
                await response.write(b'"}}\n')
            self.watched.add(plural)
            await asyncio.Event().wait()
        except ConnectionError:
            pass
        return response


@dataclass
class Operator:
    """The operator's process."""

    process: asyncio.subprocess.Process
    port: int

    async def says(self) -> dict[str, Any]:
        """Return what it has come to."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        return await _line(self.process)


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    assert line, "the operator's process has ended"
    found: dict[str, Any] = json.loads(line)
    return found


@asynccontextmanager
async def operator_at(url: str) -> AsyncIterator[Operator]:
    process = await asyncio.create_subprocess_exec(
        *ENDS_WITH_US,
        sys.executable,
        "-m",
        "tests.fakes.limited",
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Operator(process, (await _line(process))["port"])
    finally:
        process.kill()
        await process.wait()


async def send_webhooks(port: int) -> list[asyncio.StreamWriter]:
    """Open as many connections as are taken, and send most of a body that is signed, or none of whose is."""
    token = api.AccessToken(API_KEY, API_SECRET).with_sha256("x" * 43 + "=").to_jwt()
    writers = []
    for number in range(300):
        local = (f"127.0.0.{2 + number // 50}", 0)
        _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=local)
        authorization = token if number % 2 else "none"
        size = 2 * MIB - 1
        writer.write(
            f"POST /webhooks/{'/'.join(SERVER)} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n"
            f"Authorization: {authorization}\r\n\r\n".encode()
            + b"x" * (size - 1)
        )
        writers.append(writer)
    return writers


@pytest.mark.timeout(240)
async def test_the_operator_stays_within_its_memory() -> None:
    hostile = HostileApi()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", hostile.answer)
    server = TestServer(application, host="127.0.0.1")
    await server.start_server()
    async with operator_at(str(server.make_url("")).rstrip("/")) as operator:
        writers = await send_webhooks(operator.port)

        async def is_ready() -> bool:
            return bool((await operator.says())["ready"])

        await eventually_async(is_ready, "the start of the operator", seconds=180, pause=0.5)
        await eventually(lambda: "team/good" in hostile.written, "the status of another team's room", seconds=60)
        watches = {"livekitservers", "meetingrooms", "configmaps", "secrets", "pods"}
        await eventually(lambda: watches <= hostile.watched, "all watches to get past the long lines", seconds=20)
        said = await operator.says()
        for writer in writers:
            writer.transport.abort()
    await server.close()
    print(f"peak {said['peak'] / MIB:.0f} MiB", said)
    assert not said["failed"]
    assert said["known"]["MeetingRoom"] >= 61
    assert said["peak"] < MEMORY, f"{said['peak'] / MIB:.0f} MiB"
