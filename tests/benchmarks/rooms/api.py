"""The API server as a bare script sees it: one session, JSON as bytes, nothing else."""

import json
import re
import ssl
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator
from typing import Any, Self

import aiohttp
from kubernetes.aio.client import Configuration

from livekit_operator.clients.api_resources import RESOURCES
from tests.harness.api import configuration
from tests.harness.target import Target

Manifest = dict[str, Any]

ROOMS, SECRETS = RESOURCES["MeetingRoom"], RESOURCES["Secret"]
_JSON = {"Content-Type": "application/json"}
_MERGE = {"Content-Type": "application/merge-patch+json"}
_COUNTER = re.compile(r"apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)")
_DISPATCHED = re.compile(r"apiserver_flowcontrol_dispatched_requests_total\{(?P<labels>[^}]*)\} (?P<value>\S+)")
_DURATION = re.compile(r"apiserver_request_duration_seconds_(?P<part>sum|count)\{(?P<labels>[^}]*)\} (?P<value>\S+)")
_VERSION = re.compile(rb'"resourceVersion":"(\d+)"')
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}
# What is written for rooms, by the operator or by the floor.
OF_ROOMS = frozenset({"meetingrooms", "secrets", "events"})


class ApiError(Exception):
    """The API server refused; the message is its own."""


class Api:
    """Requests over one session, as an administrator."""

    def __init__(self, admin: Configuration) -> None:
        self._root = admin.host
        context = ssl.create_default_context(cafile=admin.ssl_ca_cert)
        assert admin.cert_file
        context.load_cert_chain(admin.cert_file, admin.key_file)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=64), read_bufsize=2**20)

    @classmethod
    async def connect(cls, target: Target) -> Self:
        """Return the API server of a cluster."""
        return cls(await configuration(target))

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def post(self, path: str, manifest: Manifest) -> Manifest:
        """Create an object."""
        return await self._send("POST", path, manifest, _JSON)

    async def merge(self, path: str, patch: Manifest) -> Manifest:
        """Merge-patch an object or its status."""
        return await self._send("PATCH", path, patch, _MERGE)

    async def delete(self, path: str) -> Manifest:
        """Delete an object or a collection, in the background."""
        return await self._send("DELETE", path, {"propagationPolicy": "Background"}, _JSON)

    async def get(self, path: str) -> Manifest:
        """Return an object or a list."""
        return await self._send("GET", path, None, {})

    async def pages(self, path: str) -> list[Manifest]:
        """Return all of a list, 500 at a time."""
        return (await self.listing(path))[0]

    async def listing(self, path: str) -> tuple[list[Manifest], str]:
        """Return all of a list, 500 at a time, and the resource version to watch from."""
        items: list[Manifest] = []
        version = more = ""
        while True:
            page = await self.get(f"{path}?limit=500{more}")
            items += page["items"]
            version = version or str(page["metadata"]["resourceVersion"])
            if not (token := page["metadata"].get("continue")):
                return items, version
            more = f"&continue={token}"

    async def version(self, path: str) -> str:
        """Return the resource version to watch a collection from."""
        return str((await self.get(f"{path}?limit=1"))["metadata"]["resourceVersion"])

    async def watch(self, path: str, version: str) -> AsyncGenerator[bytes]:
        """Yield the events of a collection, a line each, without end.

        The API server ends the watch of whoever does not keep up, which on a busy machine is anybody: another one goes
        on from the last event. Raises RuntimeError when one brings nothing at all.
        """
        limits = aiohttp.ClientTimeout(total=None)
        while True:
            began = version
            query = f"?watch=1&resourceVersion={version}&timeoutSeconds=3600"
            async with self._session.get(self._root + path + query, timeout=limits) as response:
                async for line in response.content:
                    if found := _VERSION.search(line):
                        version = found[1].decode()
                    yield line
            if version == began:
                raise RuntimeError("the watch ended before it brought anything")

    async def writes(self, resources: frozenset[str]) -> int:
        """Return how many requests so far changed something of these kinds, or tried to."""
        return sum(
            value
            for labels, value in await self._samples(_COUNTER)
            if labels.get("verb") in _WRITES and labels.get("resource") in resources
        )

    async def changing(self) -> Counter[str]:
        """Return the requests so far that changed something, or tried to: "PATCH secrets 409" -> their number."""
        return parse_changing(await self._metrics())

    async def requests_of(self, *flow_schemas: str) -> int:
        """Return how many requests of the users of FlowSchemas were let through so far, watches included."""
        found = await self._samples(_DISPATCHED)
        return sum(value for labels, value in found if labels.get("flow_schema") in flow_schemas)

    async def durations(self) -> dict[str, tuple[float, int]]:
        """Return the requests so far about rooms and their Secrets: "POST secrets" -> all their seconds, their number.

        Writes, and nothing that stays open.
        """
        return parse_durations(await self._metrics())

    async def _samples(self, pattern: re.Pattern[str]) -> list[tuple[dict[str, str], int]]:
        return _samples(pattern, await self._metrics())

    async def _metrics(self) -> str:
        async with self._session.get(f"{self._root}/metrics") as response:
            return await response.text()

    async def _send(self, verb: str, path: str, body: Manifest | None, headers: dict[str, str]) -> Manifest:
        data = json.dumps(body).encode() if body is not None else None
        async with self._session.request(verb, self._root + path, data=data, headers=headers) as response:
            raw = await response.read()
        answer: Manifest = json.loads(raw)
        if response.status >= 400:
            raise ApiError(f"{verb} {path}: {response.status} {answer.get('message')}")
        return answer


def _samples(pattern: re.Pattern[str], metrics: str) -> list[tuple[dict[str, str], int]]:
    return [
        (dict(_LABEL.findall(found["labels"])), round(float(found["value"]))) for found in pattern.finditer(metrics)
    ]


def parse_changing(metrics: str) -> Counter[str]:
    """Return what `Api.changing` returns, of the API server's metrics."""
    found: Counter[str] = Counter()
    for labels, value in _samples(_COUNTER, metrics):
        if (verb := labels.get("verb", "")) in _WRITES:
            # Clients know of no other verb when they apply.
            verb = "PATCH" if verb == "APPLY" else verb
            found[f"{verb} {labels.get('resource')} {labels.get('code')}"] += value
    return found


def parse_durations(metrics: str) -> dict[str, tuple[float, int]]:
    """Return what `Api.durations` returns, of the API server's metrics."""
    sums: dict[str, float] = defaultdict(float)
    for found in _DURATION.finditer(metrics):
        labels = dict(_LABEL.findall(found["labels"]))
        if labels.get("resource") in OF_ROOMS and labels.get("verb") in _WRITES:
            parts = (labels["resource"], *filter(None, [labels.get("subresource")]))
            sums[f"{found['part']} {labels['verb']} {'/'.join(parts)}"] += float(found["value"])
    kinds = {name.removeprefix("count ") for name in sums if name.startswith("count ")}
    return {kind: (sums[f"sum {kind}"], round(sums[f"count {kind}"])) for kind in kinds}
