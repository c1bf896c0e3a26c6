"""The floor: a bare asyncio script that does for each room what must be done, and nothing else.

`python -m tests.benchmarks.rooms.floor {create,delete,list} NAMESPACE COUNT`; the server's URL and keys come as JSON on
standard input. It prints a line when it is ready and, at the end, its CPU seconds. It keeps nothing, checks nothing and
forgives nothing: each room costs a CreateRoom, the finalizer, the Secret and the status.
"""

import argparse
import asyncio
import base64
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from livekit import api

from livekit_operator.constants import LABEL_COMPONENT, ROOM_FINALIZER
from livekit_operator.manifests.metadata import COMPONENT_ROOM
from tests.benchmarks.rooms.api import ROOMS, SECRETS, Api
from tests.harness.target import find_target

_WORKERS = 32
_LIFE = timedelta(hours=6)

Handle = Callable[[dict[str, Any]], Awaitable[None]]


class Floor:
    """What is done for a room."""

    def __init__(self, kubernetes: Api, livekit: api.LiveKitAPI, server: dict[str, str]) -> None:
        self._kubernetes = kubernetes
        self._livekit = livekit
        self._server = server

    async def create(self, room: dict[str, Any]) -> None:
        """Make a room, its token Secret and its status."""
        metadata = room["metadata"]
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        path = ROOMS.path(namespace, name)
        await self._kubernetes.merge(path, {"metadata": {"finalizers": [ROOM_FINALIZER]}})
        ten_years = 315360000
        made = await self._livekit.room.create_room(
            api.CreateRoomRequest(name=name, empty_timeout=ten_years, departure_timeout=ten_years, max_participants=10)
        )
        expires = datetime.now(UTC) + _LIFE
        shown = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
        identity = room["spec"]["tokens"][0]["identity"]
        secret = f"{name}-{identity}"
        await self._kubernetes.post(
            SECRETS.path(namespace), self._secret(secret, namespace, name, uid, identity, shown)
        )
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": f"Room {name} is open.",
            "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "observedGeneration": 1,
        }
        token = {"identity": identity, "secretName": secret, "expiresAt": shown}
        status = {
            "observedGeneration": 1,
            "conditions": [condition],
            "roomName": name,
            "sid": made.sid,
            "participants": 0,
            "tokens": [token],
        }
        await self._kubernetes.merge(f"{path}/status", {"status": status})

    async def delete(self, room: dict[str, Any]) -> None:
        """Delete a room and let its resource go."""
        metadata = room["metadata"]
        if "deletionTimestamp" not in metadata:
            return
        await self._livekit.room.delete_room(api.DeleteRoomRequest(room=metadata["name"]))
        path = ROOMS.path(metadata["namespace"], metadata["name"])
        await self._kubernetes.merge(path, {"metadata": {"finalizers": None}})

    async def list(self, namespace: str) -> int:
        """Look at everything there is once; return how many rooms and Secrets."""
        rooms, secrets, listed = await asyncio.gather(
            self._kubernetes.pages(ROOMS.path(namespace)),
            self._kubernetes.pages(SECRETS.path(namespace)),
            self._livekit.room.list_rooms(api.ListRoomsRequest()),
        )
        there = {room.name for room in listed.rooms}
        return sum(room["metadata"]["name"] in there for room in rooms) + len(secrets)

    def _secret(self, secret: str, namespace: str, room: str, uid: str, identity: str, expires: str) -> dict[str, Any]:
        token = (
            api.AccessToken(self._server["api_key"], self._server["api_secret"])
            .with_identity(identity)
            .with_ttl(_LIFE)
            .with_grants(api.VideoGrants(room_join=True, room=room))
            .to_jwt()
        )
        url = self._server["url"]
        values = {
            "url": url,
            "internalUrl": url,
            "token": token,
            "room": room,
            "identity": identity,
            "expiresAt": expires,
        }
        owner = {"apiVersion": ROOMS.api_version, "kind": ROOMS.kind, "name": room, "uid": uid, "controller": True}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": secret,
                "namespace": namespace,
                "labels": {LABEL_COMPONENT: COMPONENT_ROOM},
                "ownerReferences": [owner],
            },
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
        }


async def work(kubernetes: Api, namespace: str, count: int, event: str, handle: Handle) -> None:
    """Handle the first `count` events of a kind, each in a task of its own, so many at once; print when to begin."""
    limit = asyncio.Semaphore(_WORKERS)
    version = await kubernetes.version(ROOMS.path(namespace))
    print("ready", flush=True)

    async def one(room: dict[str, Any]) -> None:
        async with limit:
            await handle(room)

    seen: set[str] = set()
    async with asyncio.TaskGroup() as tasks:
        async for line in kubernetes.watch(ROOMS.path(namespace), version):
            found = json.loads(line)
            room = found["object"]
            wanted = found["type"] == event and (event == "ADDED" or "deletionTimestamp" in room["metadata"])
            if wanted and (name := room["metadata"]["name"]) not in seen:
                seen.add(name)
                tasks.create_task(one(room))
            if len(seen) == count:
                return


async def run(what: str, namespace: str, count: int, server: dict[str, str]) -> None:
    """Do it and print the CPU seconds it took."""
    kubernetes = await Api.connect(find_target())
    url = server["url"].replace("ws", "http", 1)
    async with aiohttp.ClientSession() as session:
        livekit = api.LiveKitAPI(url, server["api_key"], server["api_secret"], session=session)
        floor = Floor(kubernetes, livekit, server)
        began = time.process_time()
        if what == "list":
            print("ready", flush=True)
            await floor.list(namespace)
        else:
            event, handle = ("ADDED", floor.create) if what == "create" else ("MODIFIED", floor.delete)
            await work(kubernetes, namespace, count, event, handle)
        print(json.dumps({"cpu": time.process_time() - began}), flush=True)
    await kubernetes.close()


def main() -> None:
    """Be the floor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("create", "delete", "list"))
    parser.add_argument("namespace")
    parser.add_argument("count", type=int)
    options = parser.parse_args()
    asyncio.run(run(options.what, options.namespace, options.count, json.load(sys.stdin)))


if __name__ == "__main__":
    main()
