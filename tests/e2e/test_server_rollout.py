"""Servers are replaced, or become fewer, under calls: nobody is disconnected before the time for it is over."""

import time
from contextlib import AsyncExitStack

import pytest

from tests.e2e.conftest import Story
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import SERVER
from tests.harness.servers import (
    LONGEST_GAP_MS,
    call,
    change,
    key_in_use,
    lines,
    make_room,
    names,
    server,
    settled,
    spread_rooms,
    updated,
)
from tests.harness.watching import Seen, Watched

# How long sound stops is measured.
pytestmark = pytest.mark.quiet

DRAIN_SECONDS = 15
# Three servers and up to six voices each: two such stories at once would take the cores from each other's sound.
MANY = "three-servers"
# Of these stories alone, which are of the group `nodes`: others on the host network keep the usual ports.
SIGNAL_PORT, TCP_PORT, MEDIA = 18880, 18881, {"start": 51100, "end": 51140}


@pytest.mark.xdist_group(MANY)
@pytest.mark.timeout(240)
async def test_a_rollout_waits_for_the_call_on_every_server(story: Story) -> None:
    await story.kubectl.apply(server(3))
    (found,) = await story.ready("livekitserver", SERVER)
    url, key = found["status"]["externalUrl"], await key_in_use(story.kubectl)
    async with Watched(story.kubectl, "livekitserver", SERVER) as watched, AsyncExitStack() as calls:
        await watched.until("three servers to serve", settled)
        old = names(watched.last, "Serving")
        rooms = await spread_rooms(story.kubectl, url, key, old)
        talks = [await calls.enter_async_context(call(url, room, key)) for room in rooms]
        for talk in talks:
            await talk.both_hear()
        began, before = time.monotonic(), watched.last.manifest["metadata"]["generation"]
        await change(story.kubectl, limits={"metadataBytes": 4096})
        await watched.until("three new servers", lambda s: _is_after(s, before) and updated(s), seconds=90, since=began)
        rolled = time.monotonic()
        assert names(watched.last, "Draining") == old
        assert not set(names(watched.last, "Serving")) & set(old)
        draining = await watched.until("what the old ones wait for", lambda s: _drains(s, old), since=began)
        assert all(draining[name]["leavesBy"] for name in old)
        for name in old:
            assert any(name in message for message in await _messages(story, "Draining")), name
        for talk in talks:
            await talk.both_hear()

        await talks[0].end()
        await watched.until("the first to leave", lambda s: not lines(s).get(old[0]), since=rolled, seconds=30)
        assert names(watched.last, "Draining") == old[1:]
        heard = [side for talk in talks[1:] for side in await talk.look()]
        print(*(side.to_text() for side in heard), sep="\n")
        print(f"{rolled - began:.1f} s to roll three servers out under three calls")
        assert [side.disconnected for side in heard] == [()] * len(heard)
        assert max(side.longest_gap_ms() for side in heard) < LONGEST_GAP_MS
        await calls.aclose()
        ended = time.monotonic()
        await watched.until("the others to leave", settled, since=rolled, seconds=30)
        print(f"the old servers were gone {time.monotonic() - ended:.1f} s after the last call")


@pytest.mark.xdist_group(MANY)
@pytest.mark.timeout(240)
async def test_fewer_servers_are_the_emptiest_fewer(story: Story) -> None:
    await story.kubectl.apply(server(3))
    (found,) = await story.ready("livekitserver", SERVER)
    url, key = found["status"]["externalUrl"], await key_in_use(story.kubectl)
    async with Watched(story.kubectl, "livekitserver", SERVER) as watched, AsyncExitStack() as calls:
        await watched.until("three servers to serve", settled)
        # With nothing to choose by, the newest would leave: the calls are on the two newest.
        empty, *busy = names(watched.last, "Serving")
        rooms = await spread_rooms(story.kubectl, url, key, busy)
        talks = [await calls.enter_async_context(call(url, room, key)) for room in rooms]
        for talk in talks:
            await talk.both_hear()
        await watched.until("the calls to be counted", lambda s: all(lines(s)[n].get("participants") for n in busy))
        began, before = time.monotonic(), watched.last.manifest["metadata"]["generation"]
        await change(story.kubectl, replicas=2)
        await watched.until("two servers", lambda s: _is_after(s, before) and settled(s), since=began)
        print(f"{time.monotonic() - began:.1f} s from three servers to two")
        assert names(watched.last, "Serving") == busy
        assert empty not in lines(watched.last)
        for talk in talks:
            await talk.both_hear()
        heard = [side for talk in talks for side in await talk.look()]
        assert [side.disconnected for side in heard] == [()] * len(heard)
        assert max(side.longest_gap_ms() for side in heard) < LONGEST_GAP_MS


@pytest.mark.xdist_group("nodes")
@pytest.mark.timeout(240)
async def test_a_server_without_redis_is_replaced_when_its_call_ends(story: Story) -> None:
    await story.kubectl.apply(_on_host_network())
    (found,) = await story.ready("livekitserver", SERVER)
    url, key = found["status"]["externalUrl"], await key_in_use(story.kubectl)
    async with Watched(story.kubectl, "livekitserver", SERVER) as watched:
        (old,) = names(watched.last, "Serving")
        async with call(url, "lobby", key) as talk:
            await talk.both_hear()
            await watched.until("the call to be counted", lambda s: lines(s)[old].get("participants") == 2)
            began = time.monotonic()
            await change(story.kubectl, limits={"metadataBytes": 4096})
            await watched.until("a new one that stands by", lambda s: names(s, "Standby"), since=began)
            await watched.until("who waits for what", lambda s: "lobby" in _waiting(s) and old in _waiting(s))
            assert lines(watched.last)[old]["state"] == "Serving"
            assert lines(watched.last)[old]["waitsFor"] == ["lobby"]
            # Everybody who comes is still led to the old one: in two worlds they would not find each other.
            await make_room(url, key, "late")
            await watched.until("the late room to be on the old one", lambda s: lines(s)[old].get("rooms") == 2)
            await talk.both_hear()
            heard = await talk.look()
        left = time.monotonic()
        await watched.until("the new one to take over", settled, since=left, seconds=60)
        print(f"the new one had taken over {time.monotonic() - left:.1f} s after the call")
    (new,) = names(watched.last, "Serving")
    assert new != old
    assert [side.disconnected for side in heard] == [(), ()]
    assert max(side.longest_gap_ms() for side in heard) < LONGEST_GAP_MS
    async with call(watched.last.status["externalUrl"], "lobby", key) as again:
        await again.both_hear()


@pytest.mark.xdist_group("nodes")
@pytest.mark.timeout(240)
async def test_a_call_that_does_not_end_is_ended_when_the_time_is_over(story: Story) -> None:
    nodes = await story.kubectl.find("nodes")
    node = nodes[-1]["metadata"]["labels"]["kubernetes.io/hostname"]
    manifest = _on_host_network(
        drainTimeoutSeconds=DRAIN_SECONDS, podTemplate={"nodeSelector": {"kubernetes.io/hostname": node}}
    )
    await story.kubectl.apply(manifest)
    (found,) = await story.ready("livekitserver", SERVER)
    url, key = found["status"]["externalUrl"], await key_in_use(story.kubectl)
    async with Watched(story.kubectl, "livekitserver", SERVER) as watched, call(url, "lobby", key) as talk:
        (old,) = names(watched.last, "Serving")
        await talk.both_hear()
        await watched.until("the call to be counted", lambda s: lines(s)[old].get("participants") == 2)
        began = time.monotonic()
        await change(story.kubectl, limits={"metadataBytes": 4096})
        # The node's ports are the old one's: the new one finds no place, which is no error while it waits.
        await watched.until("a new one without a place", lambda s: names(s, "Pending"), since=began)
        await watched.until("who waits for what", lambda s: "lobby" in _waiting(s) and lines(s)[old].get("leavesBy"))
        assert watched.last.condition("Degraded")["status"] == "False"
        assert watched.last.condition("Ready")["status"] == "True"
        waiting = time.monotonic()
        told: float = await watched.until(
            "the old one to be told to leave", lambda s: names(s, "Draining") == [old] and s.at, since=began
        )
        assert told - began >= DRAIN_SECONDS - 2, "the call was ended before its time"
        await talk.silence(60)
        cut = time.monotonic() - began
        await watched.until("the new one to serve", settled, since=waiting, seconds=60)
        print(f"ended after {cut:.1f} s, the new one served {time.monotonic() - began - cut:.1f} s later")
        assert names(watched.last, "Serving") != [old]
        # Whoever has not hung up meanwhile meets the other again on the new one, at the same address.
        await talk.reconnected()
        await talk.both_hear(30)
        heard = await talk.look()
        print(f"they heard each other again after {max(side.longest_gap_ms() for side in heard) / 1000:.1f} s")
        assert max(side.longest_gap_ms(until=told) for side in heard) < LONGEST_GAP_MS


def _on_host_network(**spec: object) -> Manifest:
    media = {"exposure": "HostNetwork", "tcpPort": TCP_PORT, "udp": {"portRange": MEDIA}}
    return server(1, redis=None, media=media, signal={"port": SIGNAL_PORT}, **spec)


def _waiting(state: Seen) -> str:
    progressing = state.condition("Progressing")
    return str(progressing["message"]) if progressing.get("reason") == "WaitingForRooms" else ""


def _is_after(state: Seen, generation: int) -> bool:
    """Return whether a state is of a spec changed since: those before it go on coming for a moment."""
    return bool(state.manifest["metadata"]["generation"] > generation)


def _drains(state: Seen, old: list[str]) -> dict[str, Manifest]:
    found = lines(state)
    counted = all(found.get(name, {}).get("participants", 0) >= 2 for name in old)
    return found if counted and names(state, "Draining") == old else {}


async def _messages(story: Story, reason: str) -> list[str]:
    found: list[str] = await until(f"an Event {reason}", lambda: _events(story, reason), seconds=10)
    return found


async def _events(story: Story, reason: str) -> list[str]:
    events = await story.kubectl.find("events")
    return [str(e.get("message") or e.get("note")) for e in events if e["reason"] == reason]
