"""New Python processes with the runner in front, as an agent that knows nothing of it has them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from voice_agent.runner.install import install

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
    return run(folders, code).stdout.strip()


def run(folders: list[str], code: str) -> "subprocess.CompletedProcess[str]":
    """Run a new process to its end."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
