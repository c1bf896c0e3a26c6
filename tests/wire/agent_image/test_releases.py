"""Agents made with any supported release of livekit-agents are held to their pool's settings; older ones do not run."""

import asyncio
from pathlib import Path

import pytest

from tests.harness import agent_releases
from tests.harness.agent_releases import NEWEST
from tests.wire.agent_image.dispatcher import Dispatcher
from tests.wire.agent_image.test_runner import START, is_ready, job_ids, running
from tests.wire.agent_image.test_runner import livekit as livekit  # a fixture
from voice_agent.runner.injected import OLDEST
from voice_agent.runner.settings import EXIT_CONFIG

# The way to write an agent before there was AgentServer; releases to this day take it.
WITH_OPTIONS = """
from livekit.agents import JobContext, WorkerOptions, cli

async def entrypoint(ctx: JobContext) -> None:
    pass

if __name__ == "__main__":
    options = WorkerOptions(entrypoint_fnc=entrypoint, agent_name="name-in-the-code", port=0, num_idle_processes=5)
    options.drain_timeout = 1
    cli.run_app(options)
"""
# What the runner applies whatever the release; what else it does may need a newer one.
PROMISED = {"agentName", "sessionsPerPod", "idleProcesses", "drainTimeout", "reconnect", "readiness", "singleDrain"}
# What an older release cannot do, which RunnerApplied tells: before 1.5 it registers for no deployment.
LACKING = {"1.3": ["deployment"], "1.4": ["deployment"]}
# An agent starts within five seconds; a machine that makes environments for others beside it may be far slower.
BUSY_SECONDS = 200
TOO_OLD = [one for one in agent_releases.locked() if one not in agent_releases.supported()]

pytestmark = pytest.mark.timeout(1200)  # an environment that is not in the cache is made first


def some(releases: list[str], *always: str) -> list[object]:
    """Return releases as parameters; those that are not always tried are marked."""
    return [pytest.param(one, marks=() if one in always else pytest.mark.every_release) for one in releases]


@pytest.fixture
def script(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The file of an agent of either style."""
    if request.param == "server":
        return START[1]
    path = tmp_path / "agent.py"
    path.write_text(WITH_OPTIONS)
    return str(path)


@pytest.mark.parametrize("release", some(agent_releases.supported(), OLDEST, NEWEST))
@pytest.mark.parametrize("script", ["server", "options"], indirect=True)
async def test_name_cap_and_drain_hold(livekit: Dispatcher, tmp_path: Path, release: str, script: str) -> None:
    python = agent_releases.python(release)
    command = ("python", script, "start")
    async with running(tmp_path, livekit, command, python=python, initializeTimeoutSeconds=BUSY_SECONDS) as agent:
        document = await agent.until(is_ready, seconds=BUSY_SECONDS)
        assert set(document["applied"]) >= PROMISED, document["notApplied"]
        assert [lack["setting"] for lack in document["notApplied"]] == LACKING.get(release, [])
        assert livekit.registrations[0].agent_name == document["agentName"] == "name-of-the-pool"
        answers = [await (await livekit.offer(name)) for name in ("one", "two")]
        assert [(answer.available, answer.terminate) for answer in answers] == [(True, False), (False, False)]
        await agent.until(lambda document: document["sessions"]["started"] == 1)
        for _ in range(2):
            agent.terminate()
            document = await agent.until(lambda document: document["draining"])
        assert job_ids(document) == ["one"]
        await livekit.end("one")
        assert await asyncio.wait_for(agent.process.wait(), BUSY_SECONDS) == 0


@pytest.mark.parametrize("release", some(TOO_OLD, *TOO_OLD[-1:]))
async def test_a_release_that_is_too_old_does_not_run(livekit: Dispatcher, tmp_path: Path, release: str) -> None:
    path = tmp_path / "agent.py"
    path.write_text(WITH_OPTIONS)
    python = agent_releases.python(release)
    async with running(tmp_path, livekit, ("python", str(path), "start"), python=python) as agent:
        assert await asyncio.wait_for(agent.process.wait(), BUSY_SECONDS) == EXIT_CONFIG
    assert livekit.registrations == []
