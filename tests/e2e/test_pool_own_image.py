"""A user's own AgentServer, unchanged, is warm before it is ready, and drained without cutting its call."""

import time
from functools import partial
from typing import Any

import pytest

from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.pools import rolled_out
from tests.e2e.switchboard import enter, meet, switchboard
from tests.harness.agents import status_of
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import POOL
from tests.harness.watching import Watched

pytestmark = pytest.mark.one_server("own-image")

# As in LiveKit's own examples: nothing in it knows of Kubernetes or of this operator.
OWN = f"""\
import time

from livekit.agents import AgentServer, JobContext, JobProcess, cli

server = AgentServer()


def prewarm(proc: JobProcess) -> None:
    time.sleep(3)  # loads a model


server.setup_fnc = prewarm


@server.rtc_session(agent_name="my-agent")
async def entrypoint(ctx: JobContext) -> None:
    {light_agents.LISTENS}


if __name__ == "__main__":
    cli.run_app(server)
"""
PREWARM_SECONDS = 3


@pytest.mark.timeout(240)
async def test_an_image_of_ones_own_is_ready_when_it_is_warm(story: Story) -> None:
    await light_agents.serve(story, code=_code())
    began = time.monotonic()
    await story.kubectl.apply(_pool(story, idleProcesses=2))
    (manifest,) = await story.ready("voiceagentpool", POOL)
    took = time.monotonic() - began
    print(f"ready after {took:.1f} s, of which {PREWARM_SECONDS} s is the agent's own prewarming")
    assert took > PREWARM_SECONDS
    (pod,) = await pools.pods(story)
    said = await until("the pod to answer", partial(status_of, story.kubectl, pod))
    assert said["registered"]
    assert said["warmProcesses"] == 2
    assert said["agentName"] == manifest["status"]["agentName"] == POOL
    applied = await story.condition("voiceagentpool", POOL, "RunnerApplied", "Applied", status="True")
    assert applied
    assert {"sessionsPerPod", "idleProcesses", "drainTimeout", "readiness"} <= set(said["applied"])
    await story.kubectl.apply(pools.room("lobby"))
    async with switchboard(story) as board, enter(story, "lobby") as guest:
        agent = await meet(board, guest)
        assert agent.name == POOL
        assert guest.agents == {agent.identity}


@pytest.mark.timeout(240)
async def test_an_image_of_ones_own_ends_its_call_before_it_leaves(story: Story) -> None:
    await light_agents.serve(story, _pool(story), pools.room("lobby"), code=_code())
    async with (
        Watched(story.kubectl, "voiceagentpool", POOL) as pool,
        switchboard(story) as board,
        enter(story, "lobby") as guest,
    ):
        agent = await meet(board, guest)
        (old,) = await pools.pods(story)
        before = pool.last.status["revision"]
        await pools.change(story, {"agent": {"env": [{"name": "VERSION", "value": "2"}]}})
        await pool.until(
            "the new version to serve", lambda s: rolled_out(s) and s.status["revision"] != before, seconds=90
        )
        draining = await pool.until("the old pod to drain", lambda s: s.status.get("drainingReplicas") and s)
        assert draining.status["remainingSessions"] == 1
        await pools.draining(story, old["metadata"]["name"])
        await story.kubectl.apply(pools.room("later", dispatch="OnCreate"))
        await board.served("later")
        said = await until("the old pod to answer", partial(status_of, story.kubectl, old))
        assert said["draining"]
        assert [job["room"] for job in said["jobs"]] == ["lobby"]
        assert guest.agents == {agent.identity}
        assert guest.most_agents == 1
        left = time.monotonic()
    await pools.gone(story, old["metadata"]["name"], seconds=90)
    print(f"the old pod was gone {time.monotonic() - left:.1f} s after its call")


@pytest.mark.timeout(240)
async def test_without_the_runner_the_pool_says_what_is_left_to_the_users_code(story: Story) -> None:
    none = light_agents.agent(story, file="light", runner="None")
    await light_agents.serve(story, light_agents.pool(story, agent=none), pools.room("lobby"), code=_code())
    message = await story.condition("voiceagentpool", POOL, "RunnerApplied", "RunnerNotInjected", status="False")
    for field in ("sessionsPerPod", "idleProcesses", "drainTimeoutSeconds", "metricsPort"):
        assert field in message
    async with Watched(story.kubectl, "voiceagentpool", POOL) as pool, switchboard(story) as board:
        async with enter(story, "lobby"):
            (agent,) = await board.served("lobby")
            assert agent.name == POOL
            await pool.until("the call to be counted all the same", lambda s: s.status.get("activeSessions") == 1)
        (pod,) = await pools.pods(story)
        assert not pod["spec"].get("initContainers")


def _pool(story: Story, **spec: Any) -> Manifest:
    return light_agents.pool(story, agent=light_agents.agent(story, file="own"), **spec)


def _code() -> Manifest:
    # Without the runner a worker measures CPUs, and takes no call where others use them.
    light = light_agents.code(options=", load_fnc=lambda: 0.0")
    return light_agents.code_map(providers=True, own=OWN, light=light)
