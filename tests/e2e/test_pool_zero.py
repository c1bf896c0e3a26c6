"""A pool without calls has no pods: the first caller wakes it, is greeted, and it goes to sleep again."""

import time

import pytest

from tests.caller.call import Call
from tests.e2e.conftest import Story
from tests.e2e.pools import has_come_to
from tests.e2e.servers import node_ports, server
from tests.e2e.stock_agents import assert_uncut, callers, pool, rooms
from tests.e2e.switchboard import only_agent
from tests.harness.agents import agent_pods
from tests.harness.calls import ask
from tests.harness.resources import POOL
from tests.harness.watching import Watched

pytestmark = pytest.mark.alone

GREETED_SECONDS = 60.0


@pytest.mark.timeout(240)
async def test_a_caller_wakes_a_pool_that_sleeps(story: Story) -> None:
    scaling = {"minReplicas": 0, "maxReplicas": 3, "bufferSessions": 2, "scaleDownStabilizationSeconds": 5}
    (room,) = rooms(1)
    await story.kubectl.apply(server(**node_ports()), pool(autoscaling=scaling), room)
    (secret,) = await callers(story, [room["metadata"]["name"]], seconds=90)
    async with Watched(story.kubectl, "voiceagentpool", POOL) as watched:
        await watched.until("nothing to be wanted", has_come_to(0))
        assert await agent_pods(story.kubectl) == []
        async with Call(secret) as call:
            began = time.monotonic()
            greeted = await call.greeting(GREETED_SECONDS) - began
            await ask(call)
            (identity,) = call.agents()
            await only_agent(story, secret["room"], identity)
            report = call.report()
            left = time.monotonic()
        await watched.until("no pod again", has_come_to(0), since=left, seconds=60)
        asleep = time.monotonic() - left
    print(f"greeted {greeted:.1f} s after having joined, asleep again {asleep:.1f} s after the call")
    assert_uncut(report)
    assert await agent_pods(story.kubectl) == []
