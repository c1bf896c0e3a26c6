"""What the fork server does beforehand works, and leaves nothing that must not be forked."""

import subprocess
import sys
from pathlib import Path

import voice_agent
from voice_agent.rehearsal import play

from .conftest import ENVIRON

_PRELOAD = "import threading, voice_agent.preload; print([thread.name for thread in threading.enumerate()])"


async def test_the_turn_is_played_to_its_end() -> None:
    assert await play() == "Hello."


def test_preloading_leaves_no_thread(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"agentName": "a", "instructions": "b"}')
    environ = {
        **ENVIRON,
        "AGENT_CONFIG": str(file),
        "PYTHONPATH": str(Path(voice_agent.__file__).parent.parent),
        "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", _PRELOAD], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("['MainThread']", "")
