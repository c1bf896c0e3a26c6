"""A process that follows knows everything and does nothing; one that leads again begins as if it had just started."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from typing import Any

import aiohttp
import pytest

from livekit_operator.engine.cache import Key
from livekit_operator.pools.memory import PoolsMemory
from livekit_operator.process.runtime import Runtime
from livekit_operator.process.wiring import TABLE
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.memory import RoomsMemory
from livekit_operator.servers.credentials import credentials_of
from livekit_operator.servers.memory import ServersMemory
from livekit_operator.settings import Settings
from livekit_operator.views import RoomView
from livekit_operator.web.server import HttpServer
from tests.fakes import manifests
from tests.fakes.manifests import API_KEY, API_SECRET, NAMESPACE
from tests.fakes.waiting import eventually
from tests.fakes.world import World
from tests.unit.operator.web.door import Door, joined

QUIET = Settings(agent_image="agent:1", server_poll_seconds=3600, pool_poll_seconds=3600)
VOICE = (NAMESPACE, "voice")
ROOM: dict[str, Any] = {"agents": [{"poolRef": {"name": "front-desk"}}], "tokens": [{"identity": "alice"}]}


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """Return a follower beside a cluster where a leader, the World, has made a server, a pool and a room."""
    world = World()
    world.kubernetes.put(manifests.keys_secret())
    await world.with_server(keysSecretRef={"name": "my-keys"})
    await world.with_pool()
    world.kubernetes.put(manifests.room(**ROOM))
    await world.settle()
    world.forget()
    runtime = a_runtime(world)
    await runtime.web.start()
    await runtime.caches.start()
    async with aiohttp.ClientSession() as session:
        yield Door(world, runtime, session, f"http://127.0.0.1:{runtime.web.port}")
    assert not runtime.failed
    await runtime.stop()


def a_runtime(world: World, **changed: Any) -> Runtime:
    runtime = Runtime(
        world.kubernetes, world.worker, world.loads, world.livekit.connect, QUIET, world.context.metrics, **changed
    )
    runtime.context.now, runtime.context.refuses = world.clock, world.doors.refuses
    runtime.web = HttpServer(runtime, runtime.context.metrics, 0, "127.0.0.1")
    return runtime


def is_ready(world: World, room: str) -> bool:
    conditions = world.get("MeetingRoom", room).get("status", {}).get("conditions") or []
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)


def due(runtime: Runtime) -> dict[str, Any]:
    """Return what queues hold: nothing, while nobody leads."""
    held = {kind: vars(controller.queue) for kind, controller in runtime.leader.controllers.items()}
    return {
        f"{kind}.{name}": value
        for kind, parts in held.items()
        for name, value in parts.items()
        if isinstance(value, set | dict | list) and value
    }


def remembered(context: Context) -> dict[str, Any]:
    """Return what passes remember, in whatever place."""
    of_caches = {"host_servers", "credentials", "stored_keys"}
    names = {field.name for memory in (ServersMemory, PoolsMemory, RoomsMemory) for field in fields(memory)} - of_caches
    return {name: held for name in (*names, "brakes", "foreign_secrets", "hanging") if (held := getattr(context, name))}


async def test_a_follower_knows_and_answers_and_does_nothing(door: Door) -> None:
    world, context = door.world, door.runtime.context
    async with door.session.get(f"{door.url}/readyz") as response:
        assert response.status == 200
    known = credentials_of(context, VOICE)
    assert known is not None
    assert (known.keys.api_key, known.keys.api_secret) == (API_KEY, API_SECRET)
    assert known.keys.internal_url == world.get("LiveKitServer", "voice")["status"]["internalUrl"]
    assert known.keys.external_url == "wss://voice.example.com"
    assert known == credentials_of(world.context, VOICE), "as the leader knows it"
    world.kubernetes.put(manifests.room("later", **ROOM))
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"logging": {"level": "warn"}}})
    await eventually(lambda: (NAMESPACE, "later") in context.resources["MeetingRoom"], "the caches to follow")
    assert await door.send(joined()) == 200
    assert await door.send(joined(), secret="another-secret-of-thirty-two-characters") == 401
    assert world.kubernetes.writes == []
    assert world.livekit.requests == []
    assert due(door.runtime) == {}
    assert remembered(context) == {}


async def test_urls_and_keys_of_a_server_are_followed(door: Door) -> None:
    world, context = door.world, door.runtime.context
    other = {"status": {"externalUrl": "wss://other.example.com"}}["status"]
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", other, status=True)

    def url() -> str:
        known = credentials_of(context, VOICE)
        return known.keys.external_url if known else ""

    await eventually(lambda: url() == "wss://other.example.com", "the URL")
    secret = world.get("Secret", "voice-livekit-keys")
    world.kubernetes.edit("Secret", NAMESPACE, "voice-livekit-keys", {"metadata": {"ownerReferences": []}})
    await eventually(lambda: credentials_of(context, VOICE) is None, "a Secret that is not the server's to be let be")
    owners = {"metadata": {"ownerReferences": secret["metadata"]["ownerReferences"]}}
    world.kubernetes.edit("Secret", NAMESPACE, "voice-livekit-keys", owners)
    await eventually(lambda: credentials_of(context, VOICE) is not None, "the keys")
    world.kubernetes.edit("Secret", NAMESPACE, "voice-livekit-keys", {"data": {"keys.yaml": "bm90IGEgdGFibGU6IFs="}})
    await eventually(lambda: credentials_of(context, VOICE) is None, "keys that cannot be read to be left alone")
    world.kubernetes.vanish("LiveKitServer", NAMESPACE, "voice")
    await eventually(lambda: not context.credentials, "the server to be forgotten")
    assert context.stored_keys == {}


async def test_leadership_is_given_and_taken_and_given_again(door: Door) -> None:
    world, runtime, context = door.world, door.runtime, door.runtime.context
    world.kubernetes.put(manifests.room("while-nobody-leads"))
    await eventually(lambda: len(context.resources["MeetingRoom"]) == 2, "the caches to follow")
    theirs = len(world.livekit.connections) - world.livekit.closed
    await runtime.leader.start()
    await eventually(lambda: is_ready(world, "while-nobody-leads"), "what was made while nobody led")
    world.kubernetes.put(manifests.room("while-it-leads", **ROOM))
    await eventually(lambda: is_ready(world, "while-it-leads"), "a room")
    world.livekit.join("while-it-leads", "alice")
    assert await door.send(joined("while-it-leads")) == 200
    await eventually(lambda: context.asked_agents, "an agent to be asked for")

    await runtime.leader.stop()
    assert world.livekit.closed == len(world.livekit.connections) - theirs, "its own are closed"
    assert remembered(context) == {}
    world.forget()
    world.livekit.close_room("support-42")
    world.kubernetes.ask_to_delete("MeetingRoom", NAMESPACE, "while-nobody-leads")
    world.kubernetes.put(manifests.room("second", **ROOM))
    leaving = context.resources["MeetingRoom"]
    await eventually(
        lambda: (NAMESPACE, "second") in leaving and _is_leaving(context, "while-nobody-leads"), "the caches to follow"
    )
    assert await door.send(joined()) == 200
    async with door.session.get(f"{door.url}/readyz") as response:
        assert response.status == 200
    assert [write for write in world.kubernetes.writes if write.kind != "Event"] == []
    assert world.livekit.requests == []
    assert due(runtime) == {}
    assert remembered(context) == {}

    await runtime.leader.start()
    await eventually(lambda: is_ready(world, "second"), "what was made while nobody led")
    await eventually(lambda: "support-42" in world.livekit.rooms, "the room that was lost meanwhile")
    await eventually(lambda: (NAMESPACE, "while-nobody-leads") not in leaving, "the room that was to go")
    assert "while-nobody-leads" not in world.livekit.rooms
    assert runtime.alive


def _is_leaving(context: Context, name: str) -> bool:
    manifest = context.resources["MeetingRoom"].get((NAMESPACE, name))
    return manifest is not None and "deletionTimestamp" in manifest["metadata"]


async def test_the_groups_start_and_stop_on_their_own(door: Door) -> None:
    world, runtime = door.world, door.runtime
    await runtime.leader.start()
    await runtime.leader.stop()
    await runtime.caches.stop()
    async with door.session.get(f"{door.url}/readyz") as response:
        assert response.status == 503, "it no longer knows what there is"
    world.kubernetes.put(manifests.room("second"))
    await runtime.caches.start()
    await runtime.leader.start()
    await eventually(lambda: is_ready(world, "second"), "what was made meanwhile")
    await runtime.web.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await door.session.get(f"{door.url}/readyz")
    await runtime.web.start()
    async with door.session.get(f"http://127.0.0.1:{runtime.web.port}/readyz") as response:
        assert response.status == 200


async def test_leadership_that_is_taken_during_the_first_passes_lets_nothing_begin() -> None:
    world, reached = World(), asyncio.Event()
    world.kubernetes.put(manifests.server())
    world.kubernetes.put(manifests.room())

    async def hang(_context: Context, _key: Key) -> float | None:
        reached.set()
        await asyncio.Event().wait()
        return None

    runtime = a_runtime(world, table={**TABLE, "LiveKitServer": replace(TABLE["LiveKitServer"], reconcile=hang)})
    await runtime.caches.start()
    starting = asyncio.create_task(runtime.leader.start())
    await asyncio.wait_for(reached.wait(), 10)
    await runtime.leader.stop()
    await starting
    assert not runtime.leader.leading
    assert due(runtime) == {}
    assert world.kubernetes.writes == []
    await runtime.stop()


async def test_who_joins_before_a_servers_first_pass_does_not_wait_for_its_next_listing(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, reached, go = door.world, asyncio.Event(), asyncio.Event()
    list_rooms = world.livekit.list_rooms

    async def late(context: Context, key: Key) -> float | None:
        reached.set()
        await go.wait()
        return await TABLE["LiveKitServer"].reconcile(context, key)

    async def lagging() -> list[RoomView]:
        """Return rooms as livekit-server lists them at first, without who has just joined."""
        return [replace(room, participants=0) for room in await list_rooms()]

    monkeypatch.setattr(world.livekit, "list_rooms", lagging)
    runtime = a_runtime(world, table={**TABLE, "LiveKitServer": replace(TABLE["LiveKitServer"], reconcile=late)})
    await runtime.web.start()
    await runtime.caches.start()
    starting = asyncio.create_task(runtime.leader.start())
    await asyncio.wait_for(reached.wait(), 10)
    world.livekit.join("support-42", "alice")
    early = Door(world, runtime, door.session, f"http://127.0.0.1:{runtime.web.port}")
    assert await early.send(joined()) == 200
    assert world.livekit.dispatched("support-42") == []
    go.set()
    await starting
    await eventually(lambda: world.livekit.dispatched("support-42") != [], "an agent to be asked for")
    await runtime.leader.stop()
    assert remembered(runtime.context) == {}
    await runtime.stop()
