"""The worker class of an agent that knows nothing of the runner is supervised, once in a container."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from voice_agent.runner import injected, lifecycle, settings, worker

from .injection import folders as folders  # a fixture
from .injection import python, run


def test_a_server_is_patched_wherever_it_is_imported_from(folders: list[str]) -> None:
    code = """
from livekit.agents import AgentServer
import livekit.agents.worker as worker, sys
print(AgentServer.run.__wrapped__.__qualname__, worker.__loader__.__class__.__module__)
print("livekit_operator_runner.worker" in sys.modules)
"""
    assert python(folders, code).splitlines() == ["AgentServer.run _frozen_importlib_external", "False"]


def test_its_threads_may_look_at_each_other(folders: list[str]) -> None:
    code = "import sys, livekit.agents; print(hasattr(sys._current_frames, '__wrapped__'))"
    needed = (3, 11) <= sys.version_info < (3, 11, 12)
    assert python(folders, code) == str(needed)


def test_a_worker_that_does_not_register_is_left_alone(folders: list[str]) -> None:
    code = "import asyncio, livekit.agents as a; print(asyncio.run(a.AgentServer().run(unregistered=True)))"
    assert python(folders, code) == "{'unregistered': True}"


def test_a_worker_in_a_child_of_a_supervised_one_is_left_alone(
    folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEKIT_RUNNER_PID", "1")
    code = "import asyncio, livekit.agents as a; print(asyncio.run(a.AgentServer().run(devmode=False)))"
    assert python(folders, code) == "{'devmode': False}"


def test_a_library_without_a_server_still_loads(folders: list[str], tmp_path: Path) -> None:
    (tmp_path / "library/livekit/agents/__init__.py").write_text("from . import worker\n")
    (tmp_path / "library/livekit/agents/worker.py").write_text("found = 1\n")
    assert python(folders, "from livekit.agents.worker import found; print(found)") == "1"


def test_a_worker_of_a_library_that_is_too_old_does_not_run(folders: list[str], tmp_path: Path) -> None:
    package = tmp_path / "library/livekit/agents"
    package.joinpath("__init__.py").write_text('from .worker import Worker\n__version__ = "1.2.18"\n')
    package.joinpath("worker.py").write_text("class Worker:\n    async def run(self): print('it runs')\n")
    code = """
import asyncio, livekit.agents
try:
    asyncio.run(livekit.agents.Worker().run())
except SystemExit as ended:
    print(ended.code)
"""
    done = run(folders, code)
    assert done.stdout.split() == [str(settings.EXIT_CONFIG)]
    assert "The runner starts no worker: livekit-agents 1.2.18 is too old" in done.stderr
    for remedy in ("livekit-agents 1.3 or newer", "spec.agent.runner"):
        assert remedy in done.stderr


async def start() -> None: ...


async def test_without_settings_the_container_ends_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    monkeypatch.setattr(settings, "say_last_words", said.append)
    monkeypatch.setenv("AGENT_CONFIG", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit) as ended:
        await injected.supervise(None, start)
    assert ended.value.code == settings.EXIT_CONFIG
    assert said == [f"The runner starts no worker: cannot read {tmp_path / 'nowhere'}: No such file or directory"]


async def test_settings_are_applied_before_the_server_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"agentName": "a", "sessionsPerPod": 2, "idleProcesses": 0, "drainTimeoutSeconds": 60}')
    monkeypatch.setenv("AGENT_CONFIG", str(file))
    happened: list[Any] = []

    async def run(status: Any, started: Any) -> None:
        happened.append((status.worker.server, started))

    def supervised(server: Any, given: settings.Settings) -> Any:
        return SimpleNamespace(server=server, apply=lambda: happened.append(given))

    monkeypatch.setattr(worker, "SupervisedWorker", supervised)
    monkeypatch.setattr(lifecycle, "run", run)
    await injected.supervise("server", start)
    assert happened == [settings.Settings("a", 2, 0, 60, None), ("server", start)]
