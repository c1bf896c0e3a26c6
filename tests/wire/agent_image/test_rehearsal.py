"""What the fork server does beforehand works, and leaves nothing that must not be forked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import voice_agent
from tests.unit.agent_image.conftest import ENVIRON
from voice_agent.rehearsal import play

# Counted by the kernel: native libraries start threads that Python does not know. One that is ending gets a moment.
_PRELOAD = """
import os, time, voice_agent.preload
until = time.monotonic() + 5
while (threads := len(os.listdir("/proc/self/task"))) > 1 and time.monotonic() < until:
    time.sleep(0.05)
print(threads, flush=True)
"""
# A job process asks the turn model about silence; what it says is printed, and how much memory that took (MiB).
_ASKED_BY_A_CHILD = """
import os, numpy
from livekit.local_inference import EOT

def own():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

if os.fork() == 0:
    before = own()
    probability = EOT().predict(numpy.zeros(19200, dtype=numpy.int16))
    assert 0 <= probability <= 1
    print((own() - before) // 1024, flush=True)
    os._exit(0)
assert os.wait()[1] == 0
"""


async def test_the_turn_is_played_to_its_end() -> None:
    assert await play() == "Hello."


def preloaded(folder: Path, detection: str, code: str) -> str:
    """Return what a program prints that has done what the fork server does beforehand."""
    file = folder / "config.json"
    file.write_text(json.dumps({"agentName": "a", "instructions": "b", "turnHandling": {"detection": detection}}))
    environ = {
        **ENVIRON,
        "AGENT_CONFIG": str(file),
        "PYTHONPATH": str(Path(voice_agent.__file__).parent.parent),
        "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0",
        "OPENBLAS_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "HOME": str(folder),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize("detection", ["stt", "semantic"])
def test_preloading_leaves_no_thread(tmp_path: Path, detection: str) -> None:
    assert preloaded(tmp_path, detection, _PRELOAD) == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"], "nothing is kept about this machine"


def test_children_share_the_turn_model(tmp_path: Path) -> None:
    """Its weights are 244 MiB; what a child needs to ask it are buffers."""
    *_, threads, mib = preloaded(tmp_path, "semantic", _PRELOAD + _ASKED_BY_A_CHILD).splitlines()
    assert threads == "1"
    assert int(mib) < 60
