"""However an image starts its agent, the runner is in it: each way with real processes."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.harness import agent_releases
from tests.harness.agent_releases import NEWEST, OPENTELEMETRY
from tests.wire.agent_image.dispatcher import Dispatcher
from tests.wire.agent_image.test_runner import START, is_ready, running
from tests.wire.agent_image.test_runner import livekit as livekit  # a fixture

# As in test_releases.py.
BUSY_SECONDS = 200
# A namespace of mounts of its own, in which no shell can be started.
NO_SHELL = 'for shell in /bin/sh /bin/bash; do mount --bind /dev/null "$shell"; done; exec python agent.py start'


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        pytest.param(("python", "-m", "agent", "start"), NEWEST, id="python -m"),
        pytest.param(("uv", "run", "--no-project", "agent.py", "start"), NEWEST, id="uv run"),
        pytest.param(("sh", "-c", "exec python agent.py start"), NEWEST, id="a shell's exec"),
        pytest.param(
            ("sh", "-c", "PYTHONPATH=own:$PYTHONPATH exec python agent.py start"), NEWEST, id="a path in front"
        ),
        pytest.param(("unshare", "--mount", "sh", "-c", NO_SHELL), NEWEST, id="no shell"),
        pytest.param(
            ("opentelemetry-instrument", "python", "agent.py", "start"), OPENTELEMETRY, id="opentelemetry-instrument"
        ),
    ],
)
@pytest.mark.timeout(1200)  # an environment that is not in the cache is made first
async def test_the_runner_is_in_it(
    livekit: Dispatcher, tmp_path: Path, command: tuple[str, ...], environment: str
) -> None:
    shutil.copy(START[1], tmp_path / "agent.py")
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("open('customized', 'w').close()\n")
    python = agent_releases.python(environment)
    async with running(tmp_path, livekit, command, python=python) as agent:
        document = await agent.until(is_ready, seconds=BUSY_SECONDS)
        assert document["notApplied"] == []
        assert livekit.registrations[0].agent_name == "name-of-the-pool"
        assert (tmp_path / "customized").exists() == any("own:" in word for word in command)
        answers = [await (await livekit.offer(name)) for name in ("one", "two")]
        assert [answer.available for answer in answers] == [True, False]
        await livekit.end("one")
        agent.terminate()
        assert await asyncio.wait_for(agent.process.wait(), BUSY_SECONDS) == 0
