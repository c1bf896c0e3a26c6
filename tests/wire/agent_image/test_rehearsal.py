"""What the fork server does beforehand works, and leaves nothing that must not be forked."""

import subprocess
import sys
from pathlib import Path

import voice_agent
from tests.unit.agent_image.conftest import ENVIRON
from voice_agent.rehearsal import play

# Counted by the kernel: native libraries start threads that Python does not know. One that is ending gets a moment.
_PRELOAD = """
import os, time, voice_agent.preload
until = time.monotonic() + 5
while (threads := len(os.listdir("/proc/self/task"))) > 1 and time.monotonic() < until:
    time.sleep(0.05)
print(threads)
"""


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
        "OPENBLAS_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", _PRELOAD], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("1", "")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"], "nothing is kept about this machine"
