"""A worker ends in the middle of a call: a caller whose agent dies has a new one that greets again, and only that."""

import os
import signal
import time

import pytest

from tests.caller.call import Call
from tests.caller.report import CallReport, said_by_agents
from tests.e2e.conftest import Story
from tests.e2e.pools import gone
from tests.e2e.stock_agents import another_agent, assert_uncut, home, pool, set_up
from tests.harness.agents import call_processes
from tests.harness.calls import QUESTION, ask, asking
from tests.harness.processes import life, sigkill
from tests.providers.script import ANSWERS, GREETING

pytestmark = pytest.mark.alone

# The server itself notices only after some twenty seconds, and then makes no new agent.
SECONDS = 15.0


@pytest.mark.timeout(240)
async def test_a_caller_has_a_new_agent_when_the_worker_is_killed(story: Story) -> None:
    (secret,) = await set_up(story, pool(replicas=2), 1)
    async with Call(secret) as call:
        await call.greeting(30)
        await ask(call)
        pod = await home(story, secret["room"])
        killed = time.monotonic()
        await sigkill(story.kubectl, pod)
        greeted = await another_agent(story, call, secret["room"], killed)
        report = call.report()
    _assert_said(report, GREETING, ANSWERS[QUESTION], GREETING, ANSWERS[QUESTION])
    _assert_two_agents(report)
    assert greeted < SECONDS


@pytest.mark.timeout(240)
async def test_only_the_call_of_a_killed_process_has_a_new_agent(story: Story) -> None:
    if not story.platform.target.local:
        pytest.skip("a single process can be killed only on this machine")
    hurt_secret, unhurt_secret = await set_up(story, pool(sessionsPerPod=2, idleProcesses=2), 2)
    async with Call(hurt_secret) as hurt:
        await hurt.greeting(30)
        pod = await home(story, hurt_secret["room"])
        (pid,) = await call_processes(pod)
        async with Call(unhurt_secret) as unhurt:
            await unhurt.greeting(30)
            async with asking(unhurt):
                killed = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                greeted = await another_agent(story, hurt, hurt_secret["room"], killed)
            uncut, again = unhurt.report(), hurt.report()
    assert_uncut(uncut)
    _assert_said(again, GREETING, GREETING, ANSWERS[QUESTION])
    _assert_two_agents(again)
    assert greeted < SECONDS
    assert life(await story.kubectl.get("pod", pod["metadata"]["name"])) == life(pod)


@pytest.mark.timeout(240)
async def test_a_worker_that_ends_by_itself_keeps_its_call_and_is_replaced_at_once(story: Story) -> None:
    stays_secret, next_secret = await set_up(story, pool(sessionsPerPod=2, drainTimeoutSeconds=180), 2)
    async with Call(stays_secret) as stays:
        await stays.greeting(30)
        pod = (await home(story, stays_secret["room"]))["metadata"]["name"]
        async with asking(stays):
            await story.kubectl("exec", pod, "--", "python", "-c", "import os; os.kill(1, 15)")
            async with Call(next_secret) as late:
                await late.greeting(60)
                other = (await home(story, next_secret["room"]))["metadata"]["name"]
        uncut = stays.report()
    assert other != pod
    assert_uncut(uncut)
    await gone(story, pod)


def _assert_said(report: CallReport, *expected: str) -> None:
    """Assert that this was said in this order, and no greeting beside."""
    said = said_by_agents(report)
    left = iter(said)
    assert all(text in left for text in expected), report.to_text()
    assert said.count(GREETING) == expected.count(GREETING), report.to_text()


def _assert_two_agents(report: CallReport) -> None:
    assert report.disconnect_reason is None, report.to_text()
    joined = [event.detail for event in report.events if event.what == "agent joined"]
    assert len(joined) == len(set(joined)) == 2, report.to_text()
