"""A LiveKitServer that is deleted waits for its calls, unless it is told not to."""

import time

import pytest

from tests.e2e.conftest import Story
from tests.harness.kubectl import until
from tests.harness.resources import SERVER
from tests.harness.servers import LONGEST_GAP_MS, call, key_in_use, lines, server
from tests.harness.watching import Seen, Watched

# How long sound stops is measured.
pytestmark = pytest.mark.quiet

OURS = "app.kubernetes.io/managed-by=livekit-operator"


@pytest.mark.timeout(240)
async def test_a_deleted_server_waits_for_its_call(story: Story) -> None:
    await story.kubectl.apply(server(1, redis=None))
    (found,) = await story.ready("livekitserver", SERVER)
    url, key = found["status"]["externalUrl"], await key_in_use(story.kubectl)
    async with Watched(story.kubectl, "livekitserver", SERVER) as watched:
        async with call(url, "lobby", key) as talk:
            await talk.both_hear()
            await watched.until("the call to be counted", lambda s: s.status.get("participants") == 2)
            await story.kubectl("delete", "livekitserver", SERVER, "--wait=false")
            # A server that is too busy to answer at one look is told without its rooms.
            await watched.until("who waits for what", lambda s: _deleting(s, "lobby"))
            await watched.until("it to drain", lambda s: [i["state"] for i in lines(s).values()] == ["Draining"])
            # Media and signalling of the call go on by what leads to them.
            assert await story.kubectl.find("services,secrets", OURS)
            await talk.both_hear()
            heard = await talk.look()
        left = time.monotonic()
        await until("the server to be gone", lambda: _is_gone(story), seconds=60)
        print(f"gone {time.monotonic() - left:.1f} s after the call")
    assert [side.disconnected for side in heard] == [(), ()]
    assert max(side.longest_gap_ms() for side in heard) < LONGEST_GAP_MS


def _deleting(state: Seen, room: str) -> bool:
    ready = state.condition("Ready")
    return ready.get("reason") == "Deleting" and room in str(ready["message"])


@pytest.mark.timeout(240)
async def test_a_deleted_server_ends_its_call_when_told_to(story: Story) -> None:
    await story.kubectl.apply(server(1, redis=None))
    (found,) = await story.ready("livekitserver", SERVER)
    url, key = found["status"]["externalUrl"], await key_in_use(story.kubectl)
    async with call(url, "lobby", key) as talk:
        await talk.both_hear()
        await story.kubectl("delete", "livekitserver", SERVER, "--wait=false")
        message = await story.reason("livekitserver", SERVER, "Deleting")
        assert "livekit-operator.dev/force-delete=true" in message
        await talk.both_hear()
        told = time.monotonic()
        await story.kubectl("annotate", "livekitserver", SERVER, "livekit-operator.dev/force-delete=true")
        await until("the server to be gone", lambda: _is_gone(story), seconds=40)
        print(f"gone {time.monotonic() - told:.1f} s after it was told to")
        await talk.disconnected(60)


async def _is_gone(story: Story) -> bool:
    servers = await story.kubectl.find("livekitserver")
    pods = await story.kubectl.find("pods", OURS)
    return not servers and not pods
