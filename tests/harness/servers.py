"""Servers with calls on them: who is where, rooms on a chosen server, callers with tokens of a chosen key."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from livekit import api

from tests.caller.secret import CallerSecret
from tests.harness.kubectl import Kubectl, Manifest, until
from tests.harness.resources import SERVER, resource
from tests.harness.watching import Seen
from tests.media import Party, Talk

METRICS_PORT = 6789
SERVERS = "app.kubernetes.io/component=server"
# Who talks and who listens are programs on the machine on which everything starts: it may be late by a second.
LONGEST_GAP_MS = 2000


def server(replicas: int = 1, **spec: Any) -> Manifest:
    """Return a server on node ports with the operator's own Redis, changed at will; None takes a field away."""
    fields = {
        "replicas": replicas,
        "media": {"exposure": "NodePort"},
        "redis": {"managed": {}},
        "drainTimeoutSeconds": 300,
        **spec,
    }
    return resource("LiveKitServer", SERVER, {name: value for name, value in fields.items() if value is not None})


@dataclass(frozen=True)
class Key:
    """An API key and its secret, as the server's Secret has them."""

    id: str
    secret: str

    def __repr__(self) -> str:
        """Show neither."""
        return "Key(…)"


async def key_in_use(kubectl: Kubectl) -> Key:
    """Return the key that tokens are signed with now."""
    secret = await kubectl.secret(f"{SERVER}-livekit-keys")
    return Key(secret["apiKey"], secret["apiSecret"])


def party(url: str, room: str, identity: str, key: Key) -> Party:
    """Return somebody with a token for a room."""
    grants = api.VideoGrants(room_join=True, room=room)
    token = api.AccessToken(key.id, key.secret).with_identity(identity).with_grants(grants).to_jwt()
    return Party(CallerSecret(url, room, identity, token))


def call(url: str, room: str, key: Key) -> Talk:
    """Return a call of two in a room."""
    return Talk(party(url, room, "alice", key), party(url, room, "bob", key))


async def own_url(kubectl: Kubectl, pod: str) -> str:
    """Return where one server is reached and no other, which only this machine can.

    A call whose signalling is passed on by another server, and loses it in a rotation, may be refused with its token of
    the old key (docs/servers.md). One that is with its own server is promised everything.
    """
    manifest = await kubectl.get("pod", pod)
    return f"ws://{manifest['status']['podIP']}:7880"


async def is_accepted(url: str, key: Key) -> bool:
    """Return whether the servers behind a URL take this key, asked three times: there may be as many."""
    async with api.LiveKitAPI(url, key.id, key.secret) as client:
        try:
            for _ in range(3):
                await client.room.list_rooms(api.ListRoomsRequest())
        except api.ServerError as error:
            if error.status == 401:
                return False
            raise
    return True


async def node_ids(kubectl: Kubectl) -> dict[str, str]:
    """Return the name of each server's pod -> what LiveKit calls the server."""
    pods = await kubectl.find("pods", SERVERS)
    names = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    found = await asyncio.gather(*(_node_id(kubectl, name) for name in names))
    return dict(zip(names, found, strict=True))


async def make_room(url: str, key: Key, room: str, node_id: str = "") -> str:
    """Make a room, on a server if one is named, and return its sid."""
    async with api.LiveKitAPI(url, key.id, key.secret) as client:
        request = api.CreateRoomRequest(name=room, node_id=node_id, empty_timeout=300, departure_timeout=1)
        return (await client.room.create_room(request)).sid


async def reached(url: str) -> None:
    """Wait until a server answers there: each node learns by itself where a Service leads, some a second later."""

    async def answers() -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(url.replace("ws", "http", 1)) as answer:
                return answer.status < 500
        except aiohttp.ClientConnectorError:
            return False

    await until(f"{url} to answer", answers, seconds=20)


async def spread_rooms(kubectl: Kubectl, url: str, key: Key, pods: Sequence[str]) -> list[str]:
    """Make a room on each of these servers and return their names."""
    await reached(url)
    ids = await node_ids(kubectl)
    rooms = [f"on-{pod}" for pod in pods]
    for pod, room in zip(pods, rooms, strict=True):
        await make_room(url, key, room, ids[pod])
    return rooms


@asynccontextmanager
async def knocking(url: str) -> AsyncIterator[list[str]]:
    """Connect anew every 50 ms, as clients do that come just now; gives the failures as they happen."""
    failures: list[str] = []

    async def knock() -> None:
        connector = aiohttp.TCPConnector(force_close=True)
        limits = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(connector=connector, timeout=limits) as session:
            while True:
                try:
                    async with session.get(url.replace("ws", "http", 1)) as answer:
                        await answer.read()
                except (aiohttp.ClientError, TimeoutError) as error:
                    failures.append(f"{time.monotonic():.1f} {type(error).__name__} {error}")
                await asyncio.sleep(0.05)

    task = asyncio.create_task(knock())
    try:
        yield failures
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def lines(state: Seen) -> dict[str, Manifest]:
    """Return the status of each server by the name of its pod."""
    return {line["name"]: line for line in state.status.get("servers") or ()}


def names(state: Seen, *states: str) -> list[str]:
    """Return the names of the servers in one of these states."""
    return sorted(name for name, line in lines(state).items() if line["state"] in states)


def updated(state: Seen) -> bool:
    """Return whether every server that is wanted serves and is as wanted; older ones may still drain."""
    status, spec = state.status, state.manifest["spec"]
    counts = {status.get(name) for name in ("replicas", "readyReplicas", "updatedReplicas")}
    current = status.get("observedGeneration") == state.manifest["metadata"].get("generation")
    return bool(current and counts == {spec["replicas"]} and state.condition("Ready").get("status") == "True")


def settled(state: Seen) -> bool:
    """Return whether every server is as wanted and nothing is left to do."""
    return updated(state) and state.condition("Progressing").get("status") == "False"


async def change(kubectl: Kubectl, **spec: Any) -> None:
    """Change fields of the server's spec; None takes one away."""
    await kubectl("patch", "livekitserver", SERVER, "--type", "merge", "--patch", json.dumps({"spec": spec}))


async def _node_id(kubectl: Kubectl, pod: str) -> str:
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}:{METRICS_PORT}/proxy/metrics"

    async def read() -> str:
        for line in (await kubectl("get", "--raw", path)).splitlines():
            if line.startswith("livekit_room_total{"):
                return line.split('node_id="', 1)[1].split('"', 1)[0]
        return ""

    found: str = await until(f"{pod} to say which server it is", read, seconds=20)
    return found
