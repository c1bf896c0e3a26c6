"""Two hundred calls come and go: each has one agent, and no pod more calls than it may have."""

import time
from collections import Counter

import pytest

from tests.e2e import light_agents, pools, rooms
from tests.e2e.conftest import Story
from tests.e2e.switchboard import DOUBLED_SECONDS, Agent, switchboard
from tests.harness.agents import Occupancy
from tests.harness.resources import POOL
from tests.harness.watching import Watched

# Forty at once are what two CPUs hold beside everything else.
CALLS, AT_ONCE, SESSIONS, PODS = 200, 20, 10, 6


@pytest.mark.timeout(600)
async def test_two_hundred_calls_each_have_one_agent_and_no_pod_has_too_many(story: Story) -> None:
    names = rooms.named("call", CALLS)
    scaling = {"minReplicas": 2, "maxReplicas": PODS, "bufferSessions": AT_ONCE}
    await light_agents.serve(story, light_agents.pool(story, sessionsPerPod=SESSIONS, autoscaling=scaling))
    served: list[Agent] = []
    began = time.monotonic()
    async with (
        Watched(story.kubectl, "voiceagentpool", POOL) as pool,
        switchboard(story) as board,
        Occupancy(story.kubectl) as occupancy,
    ):
        for first in range(0, CALLS, AT_ONCE):
            asked = time.monotonic()
            await story.kubectl.apply(
                *(pools.room(name, dispatch="OnCreate") for name in names[first : first + AT_ONCE])
            )
            served += await board.served(*names[first : first + AT_ONCE], seconds=120)
            print(f"calls {first + 1} to {first + AT_ONCE} were served after {time.monotonic() - asked:.1f} s")
            # Those before leave only now: two batches are there together.
            if first:
                await pools.delete_rooms(story, names[first - AT_ONCE : first])
        left = time.monotonic()
        await pools.delete_rooms(story, names[-AT_ONCE:])
        await pool.until("no call to be left", lambda s: s.status.get("activeSessions") == 0, since=left)
    print(f"{CALLS} calls after {time.monotonic() - began:.1f} s; by pod: {Counter(agent.pod for agent in served)}")
    print(f"rooms that had two agents for a moment: {board.doubled}")
    print(f"the most that each said, at {occupancy.looks} looks: {occupancy.most}")
    assert len({agent.identity for agent in served}) == CALLS
    assert max(board.doubled.values(), default=0.0) <= DOUBLED_SECONDS
    assert max(occupancy.most.values()) <= SESSIONS
    assert max(pool.seen(lambda s: s.status.get("activeSessions") or 0)) > AT_ONCE, "no two batches were there together"
