"""A node dies.

Under three servers new rooms come about on the others, its own are made anew, and nobody else hears it. Under the
operator another one runs on another node after a minute or so, and does what was asked for meanwhile.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest
from livekit import api

from tests.cluster import nodes
from tests.cluster.machine import Node
from tests.e2e.conftest import Story
from tests.e2e.servers import on
from tests.harness.kubectl import Manifest, run, until
from tests.harness.operator import OPERATOR, running_pod
from tests.harness.redis import PASSWORD_KEY, Redis, run_plain
from tests.harness.resources import SERVER, room
from tests.harness.servers import (
    LONGEST_GAP_MS,
    Key,
    call,
    key_in_use,
    lines,
    make_room,
    names,
    node_ids,
    own_url,
    server,
    settled,
    spread_rooms,
)
from tests.harness.watching import Watched
from tests.media.talk import TalkError

# Disturbs others: a node is gone.
pytestmark = pytest.mark.alone

# After that whoever comes is led to others. Two programs that meet in a room take their time on a busy machine.
UNSERVED_SECONDS = 15.0
NEW_ROOM_SECONDS = 30.0
# This cluster calls a node lost that was silent for 30 s, and looks every 5 s. The operator's pod stays for 30 s more
# (lostNodeSeconds of the chart). The rest is for another one to start, on a busy machine, and for the room.
OPERATOR_SECONDS = 90.0
# A server answers within milliseconds; who asks a lost one asks again.
ANSWER_SECONDS = 2
# Two programs start for it.
_TALK_SECONDS = 20


@pytest.mark.timeout(400)
async def test_a_lost_node_costs_its_own_rooms_a_moment_and_nobody_else_anything(story: Story) -> None:
    kept = await _operators_node(story)
    redis = await _redis_on(story, kept)
    password = {"name": redis.password_secret, "key": PASSWORD_KEY}
    await story.kubectl.apply(server(3, redis={"address": redis.address, "passwordSecretRef": password}))
    (found,) = await story.ready("livekitserver", SERVER)
    key = await key_in_use(story.kubectl)
    async with Watched(story.kubectl, "livekitserver", SERVER) as watched:
        await watched.until("all to serve", settled)
        place = {name: lines(watched.last)[name]["node"] for name in names(watched.last, "Serving")}
        here = next(name for name, node in place.items() if node == kept)
        lost = next(name for name, node in place.items() if node != kept)
        url = await _url_by(story, found["status"]["externalUrl"], kept)
        stays, goes = await spread_rooms(story.kubectl, url, key, [here, lost])
        await story.kubectl.apply(_as_it_is(stays), _as_it_is(goes))
        await story.ready("meetingroom", stays, goes)
        home = await _home(redis, goes)
        assert home == (await node_ids(story.kubectl))[lost]

        async with call(await own_url(story.kubectl, here), stays, key) as talk:
            await talk.both_hear()
            async with _without(place[lost]) as gone_at:
                unserved: float = await watched.until(
                    "nobody to be led to the lost one",
                    lambda s: lost not in names(s, "Serving") and s.at,
                    since=gone_at,
                )
                print(f"nobody was led there {unserved - gone_at:.1f} s after the loss")
                new = await _talk_in_a_new_room(url, key, gone_at)
                print(f"a call in a new room {new:.1f} s after the loss")
                again = await _made_anew(redis, goes, home, gone_at)
                missed = time.monotonic()
                print(f"the lost room made anew {again:.1f} s after the loss")
                async with call(url, goes, key) as back:
                    await back.both_hear(30)
                await talk.both_hear()
                heard = await talk.look()
        await watched.until("three to serve again", settled, since=missed, seconds=120)
    assert unserved - gone_at < UNSERVED_SECONDS
    assert new < NEW_ROOM_SECONDS
    assert [side.disconnected for side in heard] == [(), ()]
    assert max(side.longest_gap_ms() for side in heard) < LONGEST_GAP_MS


@pytest.mark.timeout(400)
async def test_a_lost_node_takes_the_operator_away_for_little_more_than_a_minute(story: Story) -> None:
    lost = await _operators_node(story)
    kept = next(name for node in await story.kubectl.find("nodes") if (name := node["metadata"]["name"]) != lost)
    await story.kubectl.apply(server(1, redis=None, **on(kept)))
    await story.ready("livekitserver", SERVER)
    async with _without(lost) as gone_at:
        await story.kubectl.apply(room("meanwhile", "alice"))
        await story.ready("meetingroom", "meanwhile", seconds=2 * OPERATOR_SECONDS)
        away = time.monotonic() - gone_at
        print(f"a room that was made without an operator was ready {away:.1f} s after the loss")
        assert await _operators_node(story) == kept
        assert await story.kubectl.secret("meanwhile-alice")
    await until("the former operator's pod to go", lambda: _has_one_operator(story))
    assert away < OPERATOR_SECONDS


def _as_it_is(name: str) -> Manifest:
    """Return a resource that wants a room as `make_room` makes it: an empty one of other settings would be made anew.

    Then it could come to live on any server.
    """
    manifest = room(name)
    manifest["spec"] |= {"adopt": True, "maxParticipants": 0, "emptyTimeoutSeconds": 300, "departureTimeoutSeconds": 1}
    return manifest


async def _operators_node(story: Story) -> str:
    return str((await running_pod(story.platform.operator))["spec"]["nodeName"])


async def _has_one_operator(story: Story) -> bool:
    return len(await story.platform.operator.find("pods", OPERATOR)) == 1


async def _redis_on(story: Story, node: str) -> Redis:
    """Run a Redis on a node: what is lost here are servers."""
    redis = await run_plain(story.kubectl)
    there = {"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}}}}}
    await story.kubectl("patch", f"deployment/{redis.name}", "--type", "merge", "--patch", json.dumps(there))
    await story.kubectl("rollout", "status", f"deployment/{redis.name}", "--timeout=60s")
    return redis


async def _url_by(story: Story, url: str, node: str) -> str:
    """Return the URL by way of a node that is there: clients find one by DNS or a load balancer."""
    addresses = (await story.kubectl.get("node", node))["status"]["addresses"]
    address = next(entry["address"] for entry in addresses if entry["type"] == "InternalIP")
    return f"ws://{address}:{urlsplit(url).port}"


async def _home(redis: Redis, name: str) -> str:
    """Return which server a room lives on: its SID stays the same when another one takes it over from Redis."""
    return await redis.cli("HGET", "room_node_map", name)


@asynccontextmanager
async def _without(node: str) -> AsyncIterator[float]:
    """Take a node's power; gives the monotonic moment. It is back and ready afterwards."""
    machine = Node.named(node)
    at = time.monotonic()
    await asyncio.to_thread(nodes.stop, machine)
    try:
        yield at
    finally:
        await run(sys.executable, "-m", "tests.cluster", "up")  # heals what does not run


async def _talk_in_a_new_room(url: str, key: Key, since: float) -> float:
    """Try until a new room is made and two people hear each other in it; return the seconds that took."""
    tries = 0
    while time.monotonic() - since < 3 * NEW_ROOM_SECONDS:
        tries += 1
        name = f"new-{tries}"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await make_room(url, key, name)
        except (aiohttp.ClientError, TimeoutError, api.ServerError):
            continue
        try:
            async with asyncio.timeout(_TALK_SECONDS), call(url, name, key) as talk:
                await talk.both_hear()
                return time.monotonic() - since
        except (TimeoutError, TalkError):
            continue
    raise TimeoutError(f"no new room worked in {tries} tries")


async def _made_anew(redis: Redis, name: str, home: str, since: float) -> float:
    """Wait until a room lives on another server; return the seconds since a monotonic moment."""

    async def moved() -> bool:
        return await _home(redis, name) not in ("", home)

    await until(f"room {name} to live elsewhere", moved, seconds=60)
    return time.monotonic() - since
