"""Programs that keep cores busy."""

import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.waiting import eventually
from tests.harness.busy import busy

KILLED = """
import os, signal
from tests.harness.busy import busy
with busy(1) as pids:
    print(*pids, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_they_compute_behind_others_and_end_with_the_block() -> None:
    with busy(2, niceness=7) as pids:
        await eventually(lambda: all(_ticks(pid) >= 5 for pid in pids), "both to compute", seconds=20)
        assert [os.getpriority(os.PRIO_PROCESS, pid) for pid in pids] == [7, 7]
    assert [pid for pid in pids if _runs(pid)] == []


async def test_they_end_with_whoever_was_killed() -> None:
    pid = _start_and_be_killed()
    await eventually(lambda: not _runs(pid), "the load to end", seconds=20)


def _start_and_be_killed() -> int:
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    return int(killed.stdout)


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()


def _ticks(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12])


def _runs(pid: int) -> bool:
    try:
        return _stat(pid)[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
