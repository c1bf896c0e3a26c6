"""A node with calls is drained: they end when people hang up, and then the drain does."""

import asyncio
import time

import pytest

from tests.e2e.conftest import Story
from tests.harness.draining import draining_node
from tests.harness.resources import SERVER
from tests.harness.servers import LONGEST_GAP_MS, call, key_in_use, lines, names, server, settled, spread_rooms
from tests.harness.watching import Seen, Watched

# How long sound stops is measured; and servers of anybody leave a node that takes no pods.
pytestmark = pytest.mark.alone


@pytest.mark.timeout(240)
async def test_a_drain_waits_for_the_call_of_the_only_server(story: Story) -> None:
    await story.kubectl.apply(server(1, redis=None, podTemplate={"labels": {"story": story.kubectl.namespace}}))
    (found,) = await story.ready("livekitserver", SERVER)
    url, key = found["status"]["externalUrl"], await key_in_use(story.kubectl)
    async with Watched(story.kubectl, "livekitserver", SERVER) as watched:
        (old,) = names(watched.last, "Serving")
        node = lines(watched.last)[old]["node"]
        async with call(url, "lobby", key) as talk:
            await talk.both_hear()
            await watched.until("the call to be counted", lambda s: lines(s)[old].get("participants") == 2)
            async with draining_node(story.kubectl, node) as drain:
                await watched.until("one elsewhere that stands by", lambda s: _elsewhere(s, node, "Standby"))
                assert lines(watched.last)[old]["state"] == "Serving"
                await talk.both_hear()
                assert not drain.done(), "the server of a call was evicted"
                heard = await talk.look()
                left = time.monotonic()
                await talk.end()
                await asyncio.wait_for(drain, 60)
                print(f"drained {time.monotonic() - left:.1f} s after the call")
        await watched.until("one server elsewhere", lambda s: settled(s) and _elsewhere(s, node, "Serving"))
    assert [side.disconnected for side in heard] == [(), ()]
    assert max(side.longest_gap_ms() for side in heard) < LONGEST_GAP_MS


@pytest.mark.timeout(240)
async def test_one_of_two_servers_drains_with_its_node(story: Story) -> None:
    await story.kubectl.apply(server(2, podTemplate={"labels": {"story": story.kubectl.namespace}}))
    (found,) = await story.ready("livekitserver", SERVER)
    url, key = found["status"]["externalUrl"], await key_in_use(story.kubectl)
    async with Watched(story.kubectl, "livekitserver", SERVER) as watched:
        await watched.until("both servers to serve", settled)
        old = names(watched.last, "Serving")[0]
        node = lines(watched.last)[old]["node"]
        (lobby,) = await spread_rooms(story.kubectl, url, key, [old])
        async with call(url, lobby, key) as talk:
            await talk.both_hear()
            await watched.until("the call to be counted", lambda s: lines(s)[old].get("participants"))
            async with draining_node(story.kubectl, node) as drain:
                await watched.until("it to drain", lambda s: lines(s)[old]["state"] == "Draining")
                await watched.until("two elsewhere", lambda s: len(_elsewhere(s, node, "Serving")) == 2)
                await talk.both_hear()
                assert not drain.done(), "the server of a call is gone"
                heard = await talk.look()
                left = time.monotonic()
                await talk.end()
                await asyncio.wait_for(drain, 60)
                print(f"drained {time.monotonic() - left:.1f} s after the call")
    assert [side.disconnected for side in heard] == [(), ()]
    assert max(side.longest_gap_ms() for side in heard) < LONGEST_GAP_MS


def _elsewhere(state: Seen, node: str, kind: str) -> list[str]:
    return [name for name in names(state, kind) if lines(state)[name].get("node") not in (None, node)]
