"""The runner reaches an agent that does not know it, and nothing else."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from voice_agent.runner.install import install, main

RUNNER = Path(__file__).parents[3] / "agent_image" / "voice_agent" / "runner"

# Stands for livekit-agents: its name, and a server that shows how it was run.
WORKER = "class AgentServer:\n    async def run(self, **options): return options\n"


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """The runner, then another sitecustomize, then a library to patch."""
    install(tmp_path / "runner")
    other = tmp_path / "other"
    library = tmp_path / "library" / "livekit" / "agents"
    other.mkdir()
    library.mkdir(parents=True)
    (other / "sitecustomize.py").write_text("import sys; sys.other = __file__\n")
    (library / "__init__.py").write_text("from .worker import AgentServer\n")
    (library / "worker.py").write_text(WORKER)
    return [str(tmp_path / "runner"), str(other), str(library.parents[1])]


def python(folders: list[str], code: str) -> str:
    """What a new process prints."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def test_a_process_without_an_agent_imports_nothing_more(folders: list[str]) -> None:
    code = "import sys; print(*sorted(name for name in sys.modules if 'runner' in name or name == 'asyncio'))"
    assert python(folders, code) == "livekit_operator_runner livekit_operator_runner.hook"


def test_another_sitecustomize_is_not_displaced(folders: list[str]) -> None:
    shown = python(folders, "import sys, sitecustomize; print(sys.other, sitecustomize.__file__)")
    assert shown.split() == [f"{folders[1]}/sitecustomize.py"] * 2


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


def test_installing_again_replaces_what_was_there(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    stale = tmp_path / "livekit_operator_runner" / "stale.py"
    stale.touch()
    assert main([str(tmp_path)]) == 0
    assert not stale.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"livekit_operator_runner", "sitecustomize.py"}
    assert main([]) == 2


@pytest.mark.parametrize("module", sorted(RUNNER.glob("*.py")), ids=lambda path: path.name)
def test_the_runner_is_self_contained_and_old_pythons_understand_it(module: Path) -> None:
    tree = ast.parse(module.read_text(), feature_version=(3, 9))
    allowed = {*sys.stdlib_module_names, "aiohttp", "livekit_operator_runner"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1 or (node.module or "").split(".")[0] in allowed
            assert "UTC" not in [alias.name for alias in node.names], "new in Python 3.11"
