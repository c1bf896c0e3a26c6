"""A start script that does not end with `exec` is the container's first process, and keeps SIGTERM from its worker."""

import asyncio
import time
from typing import Any

import pytest

from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.pools import rolled_out
from tests.e2e.switchboard import enter, meet, switchboard
from tests.harness.kubectl import Manifest
from tests.harness.resources import POOL
from tests.harness.watching import Watched

pytestmark = pytest.mark.one_server("start-script")

NEW_CALLS = 4
# Far less than the 450 s after which the kubelet kills a pod of this pool.
LEAVES_SECONDS = 60


@pytest.mark.timeout(300)
async def test_a_worker_behind_a_start_script_ends_its_call_and_gets_no_other(story: Story) -> None:
    await light_agents.serve(story, _pool(story), pools.room("lobby"), code=_code())
    async with (
        Watched(story.kubectl, "voiceagentpool", POOL) as pool,
        switchboard(story) as board,
        enter(story, "lobby") as guest,
    ):
        agent = await meet(board, guest)
        (old,) = await pools.pods(story)
        name, before = old["metadata"]["name"], pool.last.status["revision"]
        await pools.change(story, {"agent": {"env": [{"name": "VERSION", "value": "2"}]}})
        await pool.until(
            "the new version to serve", lambda s: rolled_out(s) and s.status["revision"] != before, seconds=90
        )
        await pools.draining(story, name)
        rooms = [f"later-{number}" for number in range(NEW_CALLS)]
        await story.kubectl.apply(*(pools.room(room, dispatch="OnCreate") for room in rooms))
        agents = await board.served(*rooms)
        assert {later.version for later in agents} == {"2"}, "a call landed on the pod that leaves"
        assert guest.agents == {agent.identity}
        left = time.monotonic()
    await pools.gone(story, name, seconds=LEAVES_SECONDS)
    print(f"the old pod was gone {time.monotonic() - left:.1f} s after its call")


@pytest.mark.parametrize("runner", ["Injected", "None"])
@pytest.mark.timeout(240)
async def test_whoever_deletes_a_pod_its_worker_hears_of_it_through_the_script(story: Story, runner: str) -> None:
    await light_agents.serve(story, _pool(story, runner=runner, replicas=1), code=_code())
    (pod,) = await pools.pods(story)
    name = pod["metadata"]["name"]
    began = time.monotonic()
    # As `kubectl drain` and anybody else does it; nobody tells the operator.
    await story.kubectl("delete", "pod", name, "--wait=false")
    await pools.gone(story, name, seconds=LEAVES_SECONDS)
    print(f"a pod without calls was gone {time.monotonic() - began:.1f} s after it was deleted")
    await asyncio.wait_for(story.ready("voiceagentpool", POOL), 90)


def _pool(story: Story, *, runner: str = "Injected", **spec: Any) -> Manifest:
    script = "python /code/agent.py start; echo the worker has ended"
    agent = light_agents.agent(story, command=["sh", "-c", script], runner=runner)
    return light_agents.pool(story, agent=agent, **spec)


def _code() -> Manifest:
    # Without the runner a worker measures CPUs, and takes no call where others use them.
    return light_agents.code_map(providers=True, agent=light_agents.code(options=", load_fnc=lambda: 0.0"))
