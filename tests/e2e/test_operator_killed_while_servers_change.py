"""The operator is killed again and again while a key is rotated and servers are replaced: the end is the same."""

import asyncio
import random
import time
from functools import partial

import pytest

from tests.e2e.conftest import Story
from tests.harness.kubectl import until
from tests.harness.operator import kill, running_pod
from tests.harness.resources import SERVER, room
from tests.harness.servers import (
    LONGEST_GAP_MS,
    call,
    change,
    is_accepted,
    key_in_use,
    make_room,
    names,
    node_ids,
    own_url,
    reached,
    server,
    settled,
    updated,
)
from tests.harness.watching import Seen, Watched
from tests.media import Party, Talk

# Disturbs others: the operator ends.
pytestmark = pytest.mark.alone

SEED, KILLS, LATEST_SECONDS = 20260, 5, 6.0


@pytest.mark.timeout(420)
async def test_a_rotation_and_a_rollout_end_well_whenever_the_operator_dies(story: Story) -> None:
    chance = random.Random(SEED)
    manifest = server(2, keyRotation={"graceSeconds": 1})
    await story.kubectl.apply(manifest, room("lobby", "alice", "bob"))
    await story.ready("meetingroom", "lobby")
    (found,) = await story.ready("livekitserver", SERVER)
    url, first = found["status"]["externalUrl"], await key_in_use(story.kubectl)
    async with Watched(story.kubectl, "livekitserver", SERVER) as watched:
        await watched.until("both servers to serve", settled)
        (home, *_) = names(watched.last, "Serving")
        await reached(url)
        await make_room(url, first, "call", (await node_ids(story.kubectl))[home])
        async with call(await own_url(story.kubectl, home), "call", first) as talk:
            await talk.both_hear()
            for changed in (
                {"keyRotation": {"id": "spring", "graceSeconds": 1}},
                {"limits": {"metadataBytes": 4096}},
            ):
                await change(story.kubectl, **changed)
                wanted = (await story.kubectl.get("livekitserver", SERVER))["metadata"]["generation"]
                instants = [round(chance.uniform(0, LATEST_SECONDS), 2) for _ in range(KILLS)]
                print(f"{', '.join(changed)}: killed {instants} s after it was ready")
                for seconds in instants:
                    # Any moment will do: there is no condition to wait for.
                    await asyncio.sleep(seconds)
                    await kill(story.platform.operator)
                    await running_pod(story.platform.operator)
                through = partial(_has_come_through, wanted)
                await watched.until("it to be as wanted", through, seconds=120)
                await _assert_as_wanted(story, url)
            second = await key_in_use(story.kubectl)
            assert second.id != first.id
            assert not await is_accepted(url, first)
            await talk.both_hear()
            heard = await talk.look()
            left = time.monotonic()
        print(*(side.to_text() for side in heard), sep="\n")
        assert [side.disconnected for side in heard] == [(), ()]
        assert max(side.longest_gap_ms() for side in heard) < LONGEST_GAP_MS
        await watched.until(
            "the last old server to leave", lambda s: settled(s) and not names(s, "Draining"), since=left
        )
        await until("nothing of them to stay", lambda: _is_tidy(story), seconds=30)
    alice, bob = [Party.of(await story.kubectl.secret(f"lobby-{identity}")) for identity in ("alice", "bob")]
    async with Talk(alice, bob) as again:
        await again.both_hear()


async def _assert_as_wanted(story: Story, url: str) -> None:
    keys = await story.kubectl.secret(f"{SERVER}-livekit-keys")
    assert len(keys["keys.yaml"].split()) == 2, "more than one key is accepted"
    assert await is_accepted(url, await key_in_use(story.kubectl))
    checks = await story.kubectl.find("pods", "app.kubernetes.io/component=server-check")
    assert [pod["metadata"]["name"] for pod in checks if "deletionTimestamp" not in pod["metadata"]] == []


async def _is_tidy(story: Story) -> bool:
    """Whether there are Services for the signalling, Redis, the servers, and the one place kept for rollouts."""
    services = {m["metadata"]["name"] for m in await story.kubectl.find("services")}
    pods = {m["metadata"]["name"] for m in await story.kubectl.find("pods", "app.kubernetes.io/component=server")}
    kept = {f"{SERVER}-livekit-{slot}" for slot in range(3)}
    return len(pods) == 2 and services == {f"{SERVER}-livekit", f"{SERVER}-redis"} | kept | pods


def _has_come_through(generation: int, state: Seen) -> bool:
    """Whether a server is as its spec of this generation wants it, not as an earlier one did."""
    told = state.status.get("observedGeneration") == generation
    return bool(told and updated(state) and state.status["keys"]["phase"] == "Stable")
