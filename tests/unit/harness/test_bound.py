"""What a test starts does not outlive it."""

import os
import select
import subprocess
import sys
from pathlib import Path

from tests.harness.bound import ENDS_WITH_US

_STARTS_ONE = """
import subprocess, sys
child = subprocess.Popen([*sys.argv[1:], sys.executable, "-c", "print('up', flush=True); import time; time.sleep(600)"],
                         stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_what_is_bound_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _STARTS_ONE, *ENDS_WITH_US], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    ) as starter:
        assert starter.stdout
        process = os.pidfd_open(int(starter.stdout.readline()))
        starter.kill()
    assert _ends(process, 30)


def _ends(process: int, seconds: float) -> bool:
    """Return whether a process of this descriptor ends in time: then it can be read."""
    try:
        return bool(select.select([process], [], [], seconds)[0])
    finally:
        os.close(process)
