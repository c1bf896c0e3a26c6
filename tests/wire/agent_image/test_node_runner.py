"""Anybody's agent for Node.js, its code unchanged, under the runner: what the runner for Python keeps, this one keeps.

Real processes of the real @livekit/agents, its oldest and its newest version; the LiveKit server is a stand-in.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from livekit.protocol import agent as protocol

from tests.harness.ports import free_port
from tests.node_agent.library import NEWEST, OLDEST, library, node
from tests.wire.agent_image.dispatcher import WORKER_ID, Dispatcher
from tests.wire.agent_image.test_runner import SETTINGS, Agent, is_ready, job_ids, started
from tests.wire.agent_image.test_runner import livekit as livekit  # a fixture

HERE = Path(__file__).parent
SCRIPT = HERE / "anybodys_agent.mjs"
# The same for Node.js that requires what it uses.
REQUIRING = """
const { ServerOptions, cli, defineAgent } = require('@livekit/agents');
module.exports = { default: defineAgent({ entry: async () => {} }) };
if (require.main === module) {
  cli.runApp(new ServerOptions({ agent: __filename, port: Number(process.env.WORKER_PORT) }));
}
"""
# A bundle: nothing in it says that it is an agent, but the worker's own port.
BUNDLED = """
import { createServer } from 'node:http';
const worker = JSON.stringify({ agent_name: 'mine', worker_type: 'JT_ROOM', active_jobs: 2 });
const answer = (request, response) => response.end(request.url === '/worker' ? worker : 'OK');
createServer(answer).listen(process.env.WORKER_PORT);
"""
EVERYTHING = {
    "agentName",
    "sessionsPerPod",
    "idleProcesses",
    "drainTimeout",
    "reconnect",
    "readiness",
    "loadReports",
    "initializeTimeout",
    "deployment",
    "sessions",
    "refill",
    "terminations",
    "singleDrain",
}
PATIENT = 120  # seconds that Node.js may take to load the library twice, on a machine that others use
pytestmark = pytest.mark.timeout(1200)  # the library is installed first where it is not in the cache


@pytest.fixture(params=[OLDEST, NEWEST])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def running(
    folder: Path,
    livekit: Dispatcher,
    version: str,
    script: str = "",
    variables: dict[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[Agent]:
    """Start an agent as the operator does: Node.js loads the runner first, whose settings are in a file."""
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(library(version))
    if not script:
        script = str(shutil.copy(SCRIPT, folder / "agent.mjs"))
    async with started(
        folder,
        livekit,
        (node(), script, "start"),
        {
            "NODE_OPTIONS": f"--require {folder}/runner/node/preload.cjs",
            "WORKER_PORT": str(free_port()),
            **(variables or {}),
        },
        {**SETTINGS, "initializeTimeoutSeconds": PATIENT, **settings},
        patience=PATIENT,
    ) as agent:
        yield agent


async def test_the_cap_holds_and_a_drain_waits_however_often_it_is_asked_for(
    livekit: Dispatcher, tmp_path: Path, version: str
) -> None:
    async with running(tmp_path, livekit, version) as agent:
        document = await agent.until(is_ready)
        assert document["notApplied"] == []
        assert set(document["applied"]) == EVERYTHING
        assert document["agentName"] == livekit.registrations[0].agent_name == "name-of-the-pool"
        assert document["deployment"] == livekit.registrations[0].deployment == "canary-0123456789"
        assert document["jobType"] == "ROOM"
        assert (document["workerId"], document["warmProcesses"], document["capacity"]) == (WORKER_ID, 1, 1)

        first, second = [await livekit.offer(name) for name in ("one", "two")]
        answers = [await first, await second]
        assert [answer.available for answer in answers] == [True, False]
        assert answers[0].participant_identity == "the one", "the user's own requestFunc answers"
        assert answers[0].participant_attributes["lk.agent.name"] == "name-of-the-pool"
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
        assert (await (await livekit.offer("three"))).available is False, "a drain takes no new call"
        await livekit.end("one")
        assert await asyncio.wait_for(agent.process.wait(), PATIENT) == 0


async def test_the_server_hears_at_once_that_a_place_is_taken_and_that_it_is_free_again(
    livekit: Dispatcher, tmp_path: Path, version: str
) -> None:
    async with running(tmp_path, livekit, version) as agent:
        await agent.until(is_ready)
        full, free = protocol.WorkerStatus.WS_FULL, protocol.WorkerStatus.WS_AVAILABLE
        for number, name in enumerate(("one", "two"), start=1):
            answer = await livekit.offer(name)
            await livekit.until(lambda status: (status.status, status.load) == (full, 1), seconds=2)
            assert (await answer).available
            await agent.until(lambda document, n=number: document["sessions"]["started"] == n)  # type: ignore[misc]
            await livekit.end(name)
            await livekit.until(lambda status: (status.status, status.load, status.job_count) == (free, 0, 0))


async def test_calls_that_come_together_each_get_a_process_and_the_idle_ones_are_replaced(
    livekit: Dispatcher, tmp_path: Path, version: str
) -> None:
    async with running(tmp_path, livekit, version, sessionsPerPod=6, idleProcesses=2) as agent:
        await agent.until(is_ready)
        answers = [await livekit.offer(f"call-{number}") for number in range(4)]
        assert [(await answer).available for answer in answers] == [True] * 4
        await agent.until(lambda document: document["sessions"]["started"] == 4)
        await agent.until(lambda document: document["warmProcesses"] == 2)
        for number in range(4):
            await livekit.end(f"call-{number}")
        document = await agent.until(lambda document: not document["jobs"])
        assert [job["failed"] for job in document["endedJobs"]] == [False] * 4


async def test_without_idle_processes_a_call_gets_one_of_its_own(
    livekit: Dispatcher, tmp_path: Path, version: str
) -> None:
    async with running(tmp_path, livekit, version, idleProcesses=0) as agent:
        for number, name in enumerate(("one", "two"), start=1):
            document = await agent.until(lambda document: is_ready(document) and not document["jobs"])
            assert document["warmProcesses"] == 0
            assert (await (await livekit.offer(name))).available
            await agent.until(lambda document, n=number: document["sessions"]["started"] == n)  # type: ignore[misc]
            await livekit.end(name)


async def test_sessions_that_fail_are_told_from_those_that_end(
    livekit: Dispatcher, tmp_path: Path, version: str
) -> None:
    endings: dict[str, tuple[bool, str | None]] = {
        "hang up": (False, None),
        "raise": (True, "TypeError: the entrypoint of the test"),
        "crash": (True, "the job's process ended with exit code 3"),
        "thrown": (True, "RangeError: thrown by a timer"),
        "cut": (True, "its connection to the server broke (reason 9)"),
    }
    async with running(tmp_path, livekit, version, sessionsPerPod=2) as agent:
        await agent.until(is_ready)
        for number, ending in enumerate(endings, start=1):
            assert (await (await livekit.offer(ending, ending))).available
            document = await agent.until(
                lambda document, n=number: document["sessions"]["started"] == n and not document["jobs"]  # type: ignore[misc]
            )
        assert {job["id"]: (job["failed"], job["error"]) for job in document["endedJobs"]} == endings
        assert document["sessions"] == {"started": 5, "failed": 3}, "one that was cut off has done nothing wrong"
        assert (await (await livekit.offer("unwanted", "unwanted"))).available is False
        assert (await agent.status())["activeSessions"] == 0, "the user's own refusal holds no place"


async def test_what_a_session_does_is_told(livekit: Dispatcher, tmp_path: Path, version: str) -> None:
    async with running(tmp_path, livekit, version) as agent:
        await agent.until(is_ready)
        assert (await (await livekit.offer("one", "speak"))).available
        document = await agent.until(lambda document: any(job["state"] for job in document["jobs"]))
        (job,) = document["jobs"]
        assert job["state"] == "listening"
        assert job["lastActivityAt"].endswith("Z")


async def test_a_killed_job_process_is_gone_from_the_list(livekit: Dispatcher, tmp_path: Path, version: str) -> None:
    async with running(tmp_path, livekit, version) as agent:
        await agent.until(is_ready)
        assert (await (await livekit.offer("victim", "pid"))).available
        told = tmp_path / "pid"
        await agent.until(lambda document: bool(document["sessions"]["started"] and told.exists() and told.read_text()))
        os.kill(int(told.read_text()), signal.SIGKILL)
        document = await agent.until(lambda document: not document["jobs"], seconds=2)
        assert (document["activeSessions"], document["sessions"]["failed"]) == (0, 1)
        assert "SIGKILL" in document["endedJobs"][0]["error"]


async def test_a_job_that_is_cancelled_before_or_while_its_entrypoint_runs_is_ended(
    livekit: Dispatcher, tmp_path: Path, version: str
) -> None:
    async with running(tmp_path, livekit, version, sessionsPerPod=2) as agent:
        await agent.until(is_ready)
        assert (await (await livekit.offer("running", "hold"))).available
        await agent.until(lambda document: document["sessions"]["started"] == 1)
        await livekit.end("running")
        answer = await livekit.offer("early", "hold")
        assert (await answer).available
        await livekit.end("early")
        document = await agent.until(lambda document: document["sessions"]["started"] == 2 and not document["jobs"], 20)
        assert [job["failed"] for job in document["endedJobs"]] == [False, False]


async def test_the_connection_is_made_anew_however_few_times_the_agent_would_try(
    livekit: Dispatcher, tmp_path: Path, version: str
) -> None:
    async with running(tmp_path, livekit, version) as agent:
        await agent.until(is_ready)
        for registrations in (2, 3):
            await livekit.disconnect()
            await agent.until(lambda document: is_ready(document) and len(livekit.registrations) == registrations)  # noqa: B023


async def test_a_server_that_is_away_is_waited_for(livekit: Dispatcher, tmp_path: Path, version: str) -> None:
    nobody = {"LIVEKIT_URL": f"ws://127.0.0.1:{free_port()}"}
    async with running(tmp_path, livekit, version, variables=nobody) as agent:
        document = await agent.until(lambda document: document["warmProcesses"] == 1)
        assert (document["registered"], document["ready"]) == (False, False)
        assert await agent.ready() == (503, "not registered with the LiveKit server")
        agent.terminate()
        assert await asyncio.wait_for(agent.process.wait(), PATIENT) == 0


async def test_metrics_have_the_names_that_they_have_in_python(
    livekit: Dispatcher, tmp_path: Path, version: str
) -> None:
    port = free_port()
    async with running(tmp_path, livekit, version, metricsPort=port) as agent:
        assert "prometheus" in (await agent.until(is_ready))["applied"]
        async with agent.session.get(f"http://127.0.0.1:{port}/metrics") as response:
            text = await response.text()
    assert "lk_agents_active_job_count{nodename=" in text
    assert "lk_agents_worker_load{nodename=" in text
    assert 'lk_agents_proc_initialize_duration_seconds_bucket{le="10",nodename=' in text


async def test_a_call_left_when_the_drain_times_out_is_ended(livekit: Dispatcher, tmp_path: Path, version: str) -> None:
    async with running(tmp_path, livekit, version, drainTimeoutSeconds=1) as agent:
        await agent.until(is_ready)
        assert (await (await livekit.offer("endless"))).available
        await agent.until(lambda document: document["sessions"]["started"] == 1)
        agent.terminate()
        assert await asyncio.wait_for(agent.process.wait(), PATIENT) == 0


@pytest.mark.parametrize(
    ("prewarm", "settings", "words"),
    [
        ("crash", {}, "the last one ended with exit code 5 before it was warm"),
        ("slow", {"initializeTimeoutSeconds": 1}, "the last one took longer than 1 s; spec.initializeTimeoutSeconds"),
    ],
)
async def test_why_processes_do_not_become_warm_is_told_and_ends_no_worker(
    livekit: Dispatcher, tmp_path: Path, version: str, prewarm: str, settings: dict[str, Any], words: str
) -> None:
    async with running(tmp_path, livekit, version, variables={"PREWARM": prewarm}, **settings) as agent:
        document = await agent.until(lambda document: any(words in reason for reason in document["notReady"]))
        assert document["ready"] is False
        agent.terminate()
        assert await asyncio.wait_for(agent.process.wait(), PATIENT) == 0


async def test_an_agent_that_requires_the_library_is_held_as_well(
    livekit: Dispatcher, tmp_path: Path, version: str
) -> None:
    (tmp_path / "agent.cjs").write_text(REQUIRING)
    async with running(tmp_path, livekit, version, str(tmp_path / "agent.cjs")) as agent:
        document = await agent.until(is_ready)
        assert (document["agentName"], document["notApplied"]) == ("name-of-the-pool", [])
        answers = [await livekit.offer(name) for name in ("one", "two")]
        assert [(await answer).available for answer in answers] == [True, False]


async def test_a_program_without_the_library_says_so_and_lives(livekit: Dispatcher, tmp_path: Path) -> None:
    (tmp_path / "bundle.mjs").write_text(BUNDLED)
    patience = {"LIVEKIT_RUNNER_PATIENCE": "0.5"}
    async with running(tmp_path, livekit, OLDEST, str(tmp_path / "bundle.mjs"), patience) as agent:
        document = await agent.until(lambda document: bool(document["notApplied"]))
        (lack,) = document["notApplied"]
        assert lack["setting"] == "runner"
        assert "spec.agent.runner to None" in lack["reason"]
        assert (document["ready"], document["activeSessions"], document["agentName"]) == (True, 2, "mine")
        assert await agent.ready() == (200, "OK")
        async with agent.session.get(f"http://127.0.0.1:{agent.port}/healthz") as response:
            assert response.status == 200


async def test_a_worker_that_comes_late_gets_the_port(livekit: Dispatcher, tmp_path: Path) -> None:
    late = tmp_path / "late.mjs"
    late.write_text(
        "import { setTimeout as sleep } from 'node:timers/promises';\n"
        "const url = `http://127.0.0.1:${process.env.STATUS_PORT}/healthz`;\n"
        "while (!(await fetch(url).catch(() => {}))) await sleep(50);\n"
        "process.argv[1] = new URL('./agent.mjs', import.meta.url).pathname;\n"
        "await import('./agent.mjs');\n"
    )
    shutil.copy(SCRIPT, tmp_path / "agent.mjs")
    async with running(tmp_path, livekit, OLDEST, str(late), {"LIVEKIT_RUNNER_PATIENCE": "0.1"}) as agent:
        assert (await agent.until(is_ready))["notApplied"] == []


async def test_settings_that_are_wrong_end_the_agent(livekit: Dispatcher, tmp_path: Path) -> None:
    async with running(tmp_path, livekit, OLDEST, sessionsPerPod=0) as agent:
        assert await asyncio.wait_for(agent.process.wait(), PATIENT) == 78
    assert livekit.registrations == []
