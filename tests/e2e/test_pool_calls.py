"""Many calls of one pool: eight that come at once all find an agent, and nothing that happens around six cuts one.

The agents play a tone, so that every moment shows in which a caller does not hear one.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.pools import names_of, rolled_out
from tests.e2e.stock_agents import callers, seconds
from tests.e2e.switchboard import switchboard
from tests.harness.agents import Occupancy
from tests.harness.calls import TONE_HERTZ, Guests, Listener
from tests.harness.draining import draining_node
from tests.harness.kubectl import Manifest, until
from tests.harness.operator import kill, running_pod
from tests.harness.resources import POOL
from tests.harness.watching import Seen, Watched
from tests.light_agent import AGENT

CALLS = 6
# A machine of two CPUs may be late by a second while pods start on it. Who loses an agent is without one for longer,
# and then has another.
LONGEST_GAP_SECONDS = 2.0
BURST, BURST_SECONDS, SESSIONS = 8, 5, 2
HEARD_SECONDS = 120


@pytest.mark.alone  # the operator ends, a node takes no pods, and sound is measured
@pytest.mark.timeout(300)
async def test_operator_restart_scale_down_drain_and_rollout_cut_no_call(story: Story) -> None:
    names = [f"call-{number}" for number in range(CALLS)]
    secrets = await _set_up(story, names, replicas=CALLS // SESSIONS)
    async with (
        Watched(story.kubectl, "voiceagentpool", POOL) as pool,
        switchboard(story) as board,
        AsyncExitStack() as afterwards,
    ):
        async with Guests(Listener, secrets, within=3) as guests:
            await guests.until("everybody to hear an agent", Listener.hears, HEARD_SECONDS)
            before = {agent.identity for agent in await board.served(*names)}
            busy = await pools.pods(story)
            assert len(busy) == CALLS // SESSIONS

            await kill(story.platform.operator)
            await running_pod(story.platform.operator)
            await guests.until("everybody to hear theirs without the operator", Listener.hears, 10)

            await _scale(story, pool, CALLS // SESSIONS + 1, pods=CALLS // SESSIONS + 1)
            await _scale(story, pool, 1, pods=CALLS // SESSIONS)
            assert names_of(await pools.pods(story)) == names_of(busy), "another pod left than the one without calls"
            await guests.until("everybody to hear theirs in fewer pods", Listener.hears, 10)

            node = _fullest(busy)
            drain = await afterwards.enter_async_context(draining_node(story.kubectl, node))
            emptied = [pod["metadata"]["name"] for pod in busy if pod["spec"]["nodeName"] == node]
            # None of them is told before a new one is ready.
            await asyncio.gather(*(pools.draining(story, name, seconds=90) for name in emptied))
            await guests.until("everybody to hear theirs on a node that is drained", Listener.hears, 10)

            changed = time.monotonic()
            await pools.change(story, {"agent": _agent(story, "2")})
            await pool.until("the new version to serve", _serves_alone, since=changed, seconds=90)
            await asyncio.gather(*(pools.draining(story, pod["metadata"]["name"]) for pod in busy))
            await guests.until("everybody to hear theirs of a former version", Listener.hears, 10)

            assert not drain.done(), "a pod with calls was evicted"
            gaps = [guest.longest_gap() for guest in guests.all]
            print(f"{CALLS} calls through all of it; the longest time without sound of each: {seconds(gaps)}")
            assert [guest.disconnected for guest in guests.all] == [""] * CALLS
            assert [len(guest.all_agents) for guest in guests.all] == [1] * CALLS
            assert set().union(*(guest.agents for guest in guests.all)) == before
            assert max(gaps) < LONGEST_GAP_SECONDS
            left = time.monotonic()
        await asyncio.wait_for(drain, 60)
        await asyncio.gather(*(pools.gone(story, pod["metadata"]["name"]) for pod in busy))
        print(f"all their pods were gone {time.monotonic() - left:.1f} s after they hung up")


@pytest.mark.timeout(240)
async def test_eight_calls_within_five_seconds_all_hear_an_agent(story: Story) -> None:
    names = [f"call-{number}" for number in range(BURST)]
    scaling = {"minReplicas": 1, "maxReplicas": BURST, "bufferSessions": 0}
    secrets = await _set_up(story, names, autoscaling=scaling)
    assert len(await pools.pods(story)) == 1
    async with (
        switchboard(story) as board,
        Occupancy(story.kubectl) as occupancy,
        Guests(Listener, secrets, within=BURST_SECONDS) as guests,
    ):
        await guests.until("everybody to have heard an agent", lambda g: g.first_heard() < HEARD_SECONDS, HEARD_SECONDS)
        await guests.until("everybody to hear one at once", Listener.hears, 10)
        print(f"first sound after having joined: {seconds([guest.first_heard() for guest in guests.all])}")
        looks = occupancy.looks

        async def counted() -> bool:
            return occupancy.looks > looks + 1 and sum(occupancy.most.values()) >= BURST

        await until("pods to tell of all calls", counted, seconds=20)
        await board.served(*names)
    print(f"most calls at once: {occupancy.most}, at {occupancy.looks} looks")
    assert [guest.most_agents for guest in guests.all] == [1] * BURST
    assert max(occupancy.most.values()) <= SESSIONS


async def _set_up(story: Story, names: list[str], **spec: Any) -> list[dict[str, str]]:
    """Make a pool whose agents play, and its rooms; return the callers' Secrets when all is ready."""
    pool = light_agents.pool(
        story,
        agent=_agent(story, "1"),
        sessionsPerPod=SESSIONS,
        idleProcesses=SESSIONS,
        drainTimeoutSeconds=300,
        **spec,
    )
    pool["spec"]["podTemplate"]["labels"] = {"story": story.kubectl.namespace}
    code = light_agents.code_map(agent=AGENT.read_text())
    # The server may be on the node that is drained: it is to wait for its calls as well.
    patient = {"drainTimeoutSeconds": 300}
    await light_agents.serve(story, pool, *(pools.room(name) for name in names), code=code, server_spec=patient)
    return await callers(story, names)


def _agent(story: Story, version: str) -> Manifest:
    agent = light_agents.agent(story, version)
    return {**agent, "env": [*agent["env"], {"name": "TONE_HERTZ", "value": str(TONE_HERTZ)}]}


async def _scale(story: Story, pool: Watched, replicas: int, *, pods: int) -> None:
    """Ask for so many pods, and wait until there are as many as the calls allow."""
    asked = time.monotonic()
    await story.kubectl("scale", f"voiceagentpool/{POOL}", "--replicas", str(replicas))

    def come(state: Seen) -> bool:
        status = state.status
        counts = {status.get("replicas"), status.get("readyReplicas")}
        return bool(status.get("desiredReplicas") == replicas and counts == {pods})

    await pool.until(f"{pods} pods where {replicas} are wanted", come, since=asked, seconds=90)


def _serves_alone(state: Seen) -> bool:
    """Return whether one new pod serves, and all calls are left on pods of the version before."""
    return rolled_out(state) and state.status.get("remainingSessions") == CALLS


def _fullest(pods: list[Manifest]) -> str:
    nodes = [str(pod["spec"]["nodeName"]) for pod in pods]
    return max(sorted(set(nodes)), key=nodes.count)
