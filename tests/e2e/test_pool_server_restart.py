"""The LiveKit server dies under a call: workers register again as they are, and the next call is served."""

import time
from functools import partial

import pytest

from tests.caller.call import Call
from tests.e2e.conftest import Story
from tests.e2e.stock_agents import assert_uncut, pool, set_up
from tests.e2e.switchboard import only_agent, switchboard
from tests.harness.agents import agent_pods, status_of
from tests.harness.calls import ask
from tests.harness.kubectl import until
from tests.harness.processes import life, sigkill
from tests.harness.resources import POOL
from tests.harness.servers import SERVERS

pytestmark = pytest.mark.alone


@pytest.mark.timeout(240)
async def test_a_room_is_served_again_after_its_server_was_killed(story: Story) -> None:
    (secret,) = await set_up(story, pool(replicas=2), 1)
    pods = await agent_pods(story.kubectl)
    workers = {(await until("a pod to answer", partial(status_of, story.kubectl, pod)))["workerId"] for pod in pods}
    async with Call(secret) as call:
        await call.greeting(30)
        (server,) = await story.kubectl.find("pods", SERVERS)
        killed = time.monotonic()
        await sigkill(story.kubectl, server)

        async def registered_again() -> bool:
            said = [await status_of(story.kubectl, pod) for pod in pods]
            return all(each["ready"] and each["workerId"] not in workers for each in said)

        await until("all workers to register again", registered_again, seconds=60)
        print(f"all workers registered again {time.monotonic() - killed:.1f} s after the server was killed")

    async with switchboard(story) as board:

        async def nobody_left() -> bool:
            said = [await status_of(story.kubectl, pod) for pod in pods]
            return await board.agents(secret["room"]) == [] and not any(each["activeSessions"] for each in said)

        await until("the broken call to be over", nobody_left, seconds=60)
    await story.ready("voiceagentpool", POOL)
    await story.ready("meetingroom", secret["room"])
    async with Call(secret) as call:
        await call.greeting(30)
        await ask(call)
        (identity,) = call.agents()
        await only_agent(story, secret["room"], identity)
        report = call.report()
    assert_uncut(report)
    assert [life(pod) for pod in await agent_pods(story.kubectl)] == [life(pod) for pod in pods]
