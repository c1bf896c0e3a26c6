"""An agent for Node.js, its code unchanged, is called by a caller with a real voice: as any agent of a pool is."""

import time
from typing import Any

import pytest

from tests.caller.call import Call
from tests.caller.report import heard
from tests.e2e import pools, stock_agents
from tests.e2e.conftest import Story
from tests.e2e.pools import gone, rolled_out
from tests.e2e.stock_agents import another_agent, assert_one_agent, home, set_up
from tests.harness import install
from tests.harness.calls import QUESTION, ask, asking
from tests.harness.kubectl import Manifest, until
from tests.harness.processes import sigkill
from tests.harness.resources import POOL, SERVER, resource
from tests.harness.watching import Watched
from tests.providers.script import ANSWERS, GREETING

pytestmark = pytest.mark.alone

GOODBYE = "Goodbye."
SECONDS = 15.0


@pytest.mark.timeout(300)
async def test_each_call_has_a_pod_and_keeps_it_through_a_rollout(story: Story) -> None:
    first_secret, second_secret = await set_up(story, _pool(story, replicas=2, sessionsPerPod=1), 2)
    await story.condition("voiceagentpool", POOL, "RunnerApplied", "Applied", status="True")
    async with Watched(story.kubectl, "voiceagentpool", POOL) as pool, Call(first_secret) as first:
        await first.greeting(60)
        async with Call(second_secret) as second:
            await second.greeting(60)
            old = [await home(story, secret["room"]) for secret in (first_secret, second_secret)]
            names = pools.names_of(old)
            assert len(set(names)) == 2, "one call in each pod"
            before = pool.last.status["revision"]
            async with asking(first), asking(second):
                await pools.change(story, {"agent": {"env": [*_env(), {"name": "VERSION", "value": "2"}]}})
                await pool.until(
                    "the new version to serve", lambda s: rolled_out(s) and s.status["revision"] != before, seconds=120
                )
                assert pool.last.status["remainingSessions"] == 2
            reports = [first.report(), second.report()]
    for report in reports:
        assert_one_agent(report)
        assert {GREETING, ANSWERS[QUESTION]} <= set(heard(report)), report.to_text()
    left = time.monotonic()
    await gone(story, *names, seconds=90)
    print(f"the old pods were gone {time.monotonic() - left:.1f} s after the last call")


@pytest.mark.timeout(300)
async def test_a_killed_worker_is_replaced_and_a_call_that_ended_well_stays_over(story: Story) -> None:
    (secret,) = await set_up(story, _pool(story, replicas=2), 1)
    async with Call(secret) as call:
        await call.greeting(60)
        await ask(call)
        pod = await home(story, secret["room"])
        killed = time.monotonic()
        await sigkill(story.kubectl, pod)
        assert await another_agent(story, call, secret["room"], killed) < SECONDS

        await call.say(GOODBYE)
        await call.agent_gone(30)
        room: Manifest = await until("the room to say that the call is over", lambda: _finished(story, secret["room"]))
        assert call.agents() == [], "nobody is called again"
        report = call.report()
    assert room["status"]["agents"][0]["state"] == "Finished"
    said = heard(report)
    assert said.count(GREETING) >= 2, report.to_text()
    assert ANSWERS[QUESTION] in said, report.to_text()


async def _finished(story: Story, room: str) -> Manifest | None:
    manifest = await story.kubectl.get("meetingroom", room)
    states = [agent.get("state") for agent in manifest["status"].get("agents") or ()]
    return manifest if states == ["Finished"] else None


def _pool(story: Story, **spec: Any) -> Manifest:
    image = install.find_images(story.platform.target).node_agent
    assert image, "set NODE_AGENT_IMAGE"
    agent = {"image": image, "command": ["node", "agent.mjs", "start"], "runtime": "Node", "env": _env()}
    wanted = {"serverRef": {"name": SERVER}, "agent": agent, "idleProcesses": 1, "drainTimeoutSeconds": 180, **spec}
    return resource("VoiceAgentPool", POOL, {"resources": stock_agents.SMALL, **wanted})


def _env() -> list[Manifest]:
    key = {"secretKeyRef": {"name": "providers", "key": "openai"}}
    return [
        {"name": "GREETING", "value": GREETING},
        {"name": "OPENAI_BASE_URL", "value": install.PROVIDERS_URL},
        {"name": "OPENAI_API_KEY", "valueFrom": key},
    ]
