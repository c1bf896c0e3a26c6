"""The runner for Node.js keeps to what the runner for Python does: both read one file, and the operator reads both."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from livekit_operator.clients.worker import parse_status
from tests.unit.agent_image.test_status import worker
from voice_agent.runner import settings
from voice_agent.runner.capacity import CapacityGuard
from voice_agent.runner.sessions import Sessions
from voice_agent.runner.status import WorkerStatus

SCRIPT = Path(__file__).parent / "node_runner.mjs"
# Installed with the development environment (Makefile).
NODE = shutil.which("node") or "node"

GOOD = {"agentName": "front-desk", "sessionsPerPod": 2, "idleProcesses": 0, "drainTimeoutSeconds": 1}
JOB = SimpleNamespace(id="one", dispatch_id="AD_one", room=SimpleNamespace(name="room of one"))
SETTINGS: list[Any] = [
    GOOD,
    {**GOOD, "metricsPort": 9100, "idleProcesses": 3},
    {**GOOD, "metricsPort": None},
    {**GOOD, "metricsPort": 65536},
    {**GOOD, "agentName": ""},
    {**GOOD, "agentName": 1},
    {**GOOD, "sessionsPerPod": 0},
    {**GOOD, "sessionsPerPod": 1.5},
    {**GOOD, "sessionsPerPod": True},
    {**GOOD, "sessionsPerPod": "2"},
    {**GOOD, "idleProcesses": -1},
    {**GOOD, "drainTimeoutSeconds": 0},
    {**GOOD, "further": 1, "another": 2},
    {},
    [],
    None,
]


Ask = Callable[[str, Any], Any]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Return what has Node.js make something of a case; it is started once, which takes longer than all cases."""
    pipe = subprocess.PIPE
    with subprocess.Popen((NODE, str(SCRIPT)), stdin=pipe, stdout=pipe, text=True, bufsize=1) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        inward, outward = node.stdin, node.stdout

        def asking(step: str, case: Any) -> Any:
            inward.write(json.dumps([step, case]) + "\n")
            answer = outward.readline()
            assert answer, f"Node.js ended at {step} of {case}"
            return json.loads(answer)

        yield asking


def of_python(case: Any) -> Any:
    try:
        read = asdict(settings.parse(json.dumps(case)))
    except settings.SettingsError as error:
        return {"refused": str(error)}
    return {name: value for name, value in read.items() if value is not None}


def snake(document: dict[str, Any]) -> dict[str, Any]:
    def letters(name: str) -> str:
        return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)

    return {letters(name): value for name, value in document.items() if value is not None}


def test_both_read_the_same_settings_and_refuse_the_same_in_the_same_words(ask: Ask) -> None:
    answers = [ask("settings", json.dumps(case)) for case in SETTINGS]
    assert [snake(answer) for answer in answers] == [of_python(case) for case in SETTINGS]
    assert ask("settings", "{")["refused"].startswith("invalid JSON: ")


def test_both_tell_the_same_and_the_operator_reads_it(ask: Ask) -> None:
    said = {"state": "listening", "failed": None}
    told = {
        "running": [["one", said]],
        "ended": [
            ["two", {}, 0],
            ["three", {"failed": "TypeError: no"}, 0],
            ["four", {"cut": "broke"}, 0],
            ["five", None, 3],
        ],
        "stopping": True,
        "notApplied": {"deployment": "no such part"},
    }
    document = ask("status", told)["document"]
    sessions = Sessions()
    sessions.on_closed(SimpleNamespace(running_job=SimpleNamespace(job=JOB), status=SimpleNamespace(name="SUCCESS")))
    ours = WorkerStatus(worker(guard=CapacityGuard(4, lambda: [JOB]), sessions=sessions)).document()
    assert document.keys() == ours.keys()
    for part in ("jobs", "endedJobs"):
        assert document[part][0].keys() == ours[part][0].keys()
    assert [job["cut"] for job in document["endedJobs"]] == [False, False, True, False]
    assert [job["seconds"] for job in document["endedJobs"]] == [0] * 4
    read = parse_status(document)
    assert (read.sessions, read.capacity, read.started, read.failed) == (1, 4, 5, 2)
    assert (read.draining, read.registered, read.agent_name) == (True, True, "front-desk")
    assert read.not_applied == ("deployment: no such part",)
    assert read.jobs is not None
    assert [(job.id, job.room, job.dispatch, job.state) for job in read.jobs] == [
        ("one", "room of one", "AD_one", "listening")
    ]
    assert all(job.started and job.last_active for job in read.jobs)
    assert [(job.id, job.failed, job.error) for job in read.ended] == [
        ("two", False, ""),
        ("three", True, "TypeError: no"),
        ("four", True, "broke"),
        ("five", True, "the job's process ended with exit code 3"),
    ]


@pytest.mark.parametrize(
    ("worker", "ready"),
    [
        ({}, [200, "ok"]),
        ({"registered": False}, [503, "not registered with the LiveKit server"]),
        ({"warmedUp": False}, [503, "idle processes are not warm yet"]),
        ({"warmedUp": False, "problem": "it hangs"}, [503, "idle processes are not warm yet: it hangs"]),
        ({"stopping": True, "registered": False}, [503, "draining\nnot registered with the LiveKit server"]),
    ],
)
def test_when_a_worker_is_ready(ask: Ask, worker: dict[str, Any], ready: list[Any]) -> None:
    answer = ask("status", worker)
    status, _, text = answer["ready"]
    assert [status, text] == ready
    assert answer["document"]["ready"] is (status == 200)
    assert answer["health"][0] == 200


@pytest.mark.parametrize(
    ("requests", "heard", "occupied"),
    [
        ([["a", "accept"], ["b", "accept"], ["c", "accept"]], ["a accept", "b accept", "c reject"], 2),
        ([["a", "accept"], ["a", "accept"]], ["a accept", "a reject"], 1),
        ([["a", "accept"], ["b", "accept"], ["a", "end"], ["c", "accept"]], ["a accept", "b accept", "c accept"], 2),
        ([["a", "reject"], ["b", "silence"], ["c", "raise"]], ["a reject", "b reject", "c reject"], 0),
        ([["a", "both"]], ["a accept"], 1),
    ],
)
def test_no_request_is_taken_beyond_the_cap_and_each_is_answered_once(
    ask: Ask, requests: list[Any], heard: list[str], occupied: int
) -> None:
    answer = ask("requests", requests)
    assert [f"{job} {word}" for job, word, *_ in answer["heard"]] == heard
    assert all(rest == [{"lk.agent.name": "front-desk"}] for _, word, *rest in answer["heard"] if word == "accept")
    assert (answer["occupied"], answer["free"]) == (occupied, 2 - occupied)


def test_how_a_process_ended(ask: Ask) -> None:
    ends = ([None, "SIGKILL"], [None, "SIGTERM"], [3, None], [0, None])
    killed, terminated, failed, well = [ask("exit", end) for end in ends]
    assert "lack of memory" in killed
    assert (terminated, failed) == (
        "the job's process ended with signal SIGTERM",
        "the job's process ended with exit code 3",
    )
    assert well is None


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("file:///app/node_modules/@livekit/agents/dist/worker.js", True),
        ("/app/node_modules/.pnpm/@livekit+agents@1.2.0/node_modules/@livekit/agents/dist/worker.cjs", True),
        ("file:///app/node_modules/@livekit/agents/dist/worker.js?tsx-namespace=1", True),
        ("file:///app/node_modules/@livekit/agents/dist/ipc/worker.js", False),
        ("file:///app/dist/worker.js", False),
    ],
)
def test_which_module_has_the_worker(ask: Ask, path: str, found: bool) -> None:
    assert ask("isWorker", path) is found


def test_what_is_added_to_the_worker_is_only_what_it_has(ask: Ask) -> None:
    source = "class AgentServer {\n  #opts;\n  #session = void 0;\n}\n"
    added, nothing = ask("transform", source), ask("transform", "class Other {}\n")
    first = added.split("\n")[0]
    assert first.startswith("class AgentServer { static [Symbol")
    assert "get opts()" in first
    assert "get session()" in first
    assert "procPool" not in first, "a private name that the class lacks is an error of syntax"
    assert added.split("\n")[1:4] == source.split("\n")[1:4], "lines keep their numbers"
    assert nothing.startswith("class Other {}\n\n;globalThis")
