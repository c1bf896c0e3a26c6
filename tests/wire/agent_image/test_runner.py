"""Anybody's agent, its code unchanged, under the runner: real processes of the real library."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from livekit.protocol import agent as protocol

from tests.harness.ports import free_port
from tests.wire.agent_image.dispatcher import WORKER_ID, Dispatcher, dispatcher
from voice_agent.runner.install import install

HERE = Path(__file__).parent
SCRIPT = str(HERE / "anybodys_agent.py")
SETTINGS = {"agentName": "name-of-the-pool", "sessionsPerPod": 1, "idleProcesses": 1, "drainTimeoutSeconds": 60}
START = ("python", SCRIPT, "start")


# The older way to write an agent, on a library whose server keeps its connection elsewhere.
LACKING = """
import functools
from livekit.agents import AgentServer, WorkerOptions, cli

serve, create = AgentServer._run_ws, AgentServer.__init__
del AgentServer._run_ws

def init(self, **options):
    create(self, **options)
    self._run_ws = functools.partial(serve, self)

AgentServer.__init__ = init

async def entrypoint(ctx):
    pass

if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint, port=0))
"""


# Reports its status only if told to.
SILENT = """
import livekit.agents.worker
livekit.agents.worker.UPDATE_STATUS_INTERVAL = 3600
""" + Path(SCRIPT).read_text()


@dataclass
class Agent:
    """A running agent and what its runner says."""

    process: asyncio.subprocess.Process
    port: int
    session: aiohttp.ClientSession
    patience: float = 40
    """How long a status is waited for (seconds)."""

    async def status(self) -> dict[str, Any]:
        async with self.session.get(f"http://127.0.0.1:{self.port}/status") as response:
            document: dict[str, Any] = await response.json()
            return document

    async def ready(self) -> tuple[int, str]:
        async with self.session.get(f"http://127.0.0.1:{self.port}/readyz") as response:
            return response.status, await response.text()

    async def until(self, condition: Callable[[dict[str, Any]], bool], seconds: float | None = None) -> dict[str, Any]:
        """Return the first status that fulfils a condition."""
        seconds = self.patience if seconds is None else seconds
        document: dict[str, Any] = {}
        try:
            async with asyncio.timeout(seconds):
                while True:
                    assert self.process.returncode is None, "the agent has exited"
                    try:
                        document = await self.status()
                        if condition(document):
                            return document
                    except aiohttp.ClientConnectorError:
                        pass
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"not within {seconds} s; the last status was {document}")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@asynccontextmanager
async def running(
    folder: Path,
    livekit: Dispatcher,
    command: tuple[str, ...] = START,
    executor: str = "PROCESS",
    python: str = sys.executable,
    **settings: Any,
) -> AsyncIterator[Agent]:
    """Start an agent as the operator does: the runner in front of PYTHONPATH, its settings in a file.

    Its programs are those of the environment that an interpreter, `python`, is of.
    """
    variables = {
        "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(Path(python).parents[1]),
        "PYTHONPATH": str(folder / "runner"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "EXECUTOR": executor,
        "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0",
        "OPENBLAS_NUM_THREADS": "1",
    }
    output = asyncio.subprocess.DEVNULL if "-s" not in sys.argv else None
    async with started(folder, livekit, command, variables, {**SETTINGS, **settings}, output=output) as agent:
        yield agent


@asynccontextmanager
async def started(
    folder: Path,
    livekit: Dispatcher,
    command: tuple[str, ...],
    variables: dict[str, str],
    settings: dict[str, Any],
    *,
    output: int | None = None,
    patience: float = Agent.patience,
) -> AsyncIterator[Agent]:
    """Start a program with the runner and its settings in a folder; `variables` say how it loads the runner."""
    install(folder / "runner")
    (folder / "config.json").write_text(json.dumps(settings))
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        stdout=output,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "AGENT_CONFIG": str(folder / "config.json"),
            "STATUS_PORT": str(port),
            "LIVEKIT_URL": livekit.url,
            "LIVEKIT_API_KEY": "key",
            "LIVEKIT_API_SECRET": "secret-of-at-least-32-characters-",
            "LIVEKIT_AGENT_DEPLOYMENT": "canary-0123456789",
            **variables,
        },
    )
    async with aiohttp.ClientSession() as session:
        try:
            yield Agent(process, port, session, patience)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
async def livekit() -> AsyncIterator[Dispatcher]:
    async with dispatcher() as served:
        yield served


def is_ready(document: dict[str, Any]) -> bool:
    return bool(document["ready"])


def job_ids(document: dict[str, Any]) -> list[str]:
    return [job["id"] for job in document["jobs"]]


@pytest.mark.parametrize("executor", ["PROCESS", "THREAD"])
async def test_the_cap_holds_and_a_drain_waits_however_often_it_is_asked_for(
    livekit: Dispatcher, tmp_path: Path, executor: str
) -> None:
    async with running(tmp_path, livekit, executor=executor) as agent:
        document = await agent.until(is_ready)
        assert document["notApplied"] == []
        assert document["agentName"] == livekit.registrations[0].agent_name == "name-of-the-pool"
        assert document["deployment"] == livekit.registrations[0].deployment == "canary-0123456789"
        assert (document["workerId"], document["warmProcesses"], document["capacity"]) == (WORKER_ID, 1, 1)

        first, second = [await livekit.offer(name) for name in ("one", "two")]
        answers = [await first, await second]
        assert [answer.available for answer in answers] == [True, False]
        assert answers[0].participant_identity == "the one", "the user's own on_request answers"
        assert answers[1].terminate is False, "another worker may take the job"

        document = await agent.until(lambda document: document["sessions"]["started"] == 1)
        (job,) = document["jobs"]
        assert (job["id"], job["dispatchId"], job["room"]) == ("one", "AD_one", "room of one")
        assert document["activeSessions"] == 1

        for _ in range(3):
            agent.terminate()
            document = await agent.until(lambda document: document["draining"])
        assert (await agent.ready()) == (503, "draining")
        assert job_ids(document) == ["one"]
        await livekit.end("one")
        assert await asyncio.wait_for(agent.process.wait(), 30) == 0


async def test_the_server_hears_at_once_that_a_place_is_taken_and_that_it_is_free_again(
    livekit: Dispatcher, tmp_path: Path
) -> None:
    script = tmp_path / "agent.py"
    script.write_text(SILENT)
    async with running(tmp_path, livekit, ("python", str(script), "start")) as agent:
        document = await agent.until(is_ready)
        assert "loadReports" in document["applied"]
        full, free = protocol.WorkerStatus.WS_FULL, protocol.WorkerStatus.WS_AVAILABLE
        for number, name in enumerate(("one", "two"), start=1):
            answer = await livekit.offer(name)
            await livekit.until(lambda status: (status.status, status.load) == (full, 1))
            assert (await answer).available
            await agent.until(lambda document, n=number: document["sessions"]["started"] == n)  # type: ignore[misc]
            await livekit.end(name)
            await livekit.until(lambda status: (status.status, status.load, status.job_count) == (free, 0, 0))


async def test_sessions_that_fail_are_told_from_those_that_end(livekit: Dispatcher, tmp_path: Path) -> None:
    async with running(tmp_path, livekit, sessionsPerPod=2) as agent:
        await agent.until(is_ready)
        counts = []
        for number, ending in enumerate(("hang up", "raise", "crash"), start=1):
            assert (await (await livekit.offer(ending, ending))).available
            document = await agent.until(
                lambda document, n=number: document["sessions"]["started"] == n and not document["jobs"]  # type: ignore[misc]
            )
            counts.append(document["sessions"]["failed"])
        assert counts == [0, 1, 2]
        answer = await (await livekit.offer("unwanted", "unwanted"))
        assert (answer.available, answer.terminate) == (False, True), "the user's own refusal is passed on"
        assert (await agent.status())["sessions"] == {"started": 3, "failed": 2}


async def test_a_killed_job_process_is_gone_from_the_list(livekit: Dispatcher, tmp_path: Path) -> None:
    async with running(tmp_path, livekit) as agent:
        await agent.until(is_ready)
        assert (await (await livekit.offer("victim", "pid"))).available
        told = tmp_path / "pid"
        # It counts as started before its code has begun to run.
        await agent.until(lambda document: bool(document["sessions"]["started"] and told.exists() and told.read_text()))
        os.kill(int(told.read_text()), signal.SIGKILL)
        document = await agent.until(lambda document: not document["jobs"], seconds=2)
        assert (document["activeSessions"], document["sessions"]["failed"]) == (0, 1)


async def test_the_connection_is_made_anew_however_few_times_the_agent_would_try(
    livekit: Dispatcher, tmp_path: Path
) -> None:
    async with running(tmp_path, livekit) as agent:
        await agent.until(is_ready)
        for registrations in (2, 3):
            await livekit.disconnect()
            await agent.until(lambda document: is_ready(document) and len(livekit.registrations) == registrations)  # noqa: B023


async def test_the_other_way_of_starting_and_the_port_for_metrics(livekit: Dispatcher, tmp_path: Path) -> None:
    port = free_port()
    command = ("python", "-m", "livekit.agents", "start", SCRIPT)
    async with running(tmp_path, livekit, command, metricsPort=port) as agent:
        document = await agent.until(is_ready)
        assert {"sessionsPerPod", "idleProcesses", "drainTimeout", "readiness", "prometheus"} <= set(
            document["applied"]
        )
        async with agent.session.get(f"http://127.0.0.1:{port}/metrics") as response:
            assert "lk_agents_active_job_count" in await response.text()
        for _ in range(2):
            agent.terminate()
        assert await asyncio.wait_for(agent.process.wait(), 30) == 0


async def test_a_call_left_when_the_drain_times_out_is_ended(livekit: Dispatcher, tmp_path: Path) -> None:
    async with running(tmp_path, livekit, drainTimeoutSeconds=1) as agent:
        await agent.until(is_ready)
        assert (await (await livekit.offer("endless"))).available
        await agent.until(lambda document: document["sessions"]["started"] == 1)
        agent.terminate()
        assert await asyncio.wait_for(agent.process.wait(), 30) == 0


async def test_what_a_library_lacks_is_told_and_the_agent_works(livekit: Dispatcher, tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text(LACKING)
    async with running(tmp_path, livekit, ("python", str(script), "start")) as agent:
        document = await agent.until(is_ready)
        (lack,) = document["notApplied"]
        assert lack == {"setting": "readiness", "reason": "this livekit-agents has no AgentServer._run_ws"}
        assert "sessionsPerPod" in document["applied"]
        answers = [await livekit.offer(name) for name in ("one", "two")]
        assert [(await answer).available for answer in answers] == [True, False]


async def test_settings_that_are_wrong_end_the_agent(livekit: Dispatcher, tmp_path: Path) -> None:
    async with running(tmp_path, livekit, sessionsPerPod=0) as agent:
        assert await asyncio.wait_for(agent.process.wait(), 30) == 78
    assert livekit.registrations == []
