"""A load on the CPUs, as neighbours on a machine are: programs that compute and do nothing else.

with busy(cores=2, niceness=5):
    ...
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Ends with whoever started it, however that ends.
_PROGRAM = """
import os, sys
os.nice(int(sys.argv[2]))
while os.getppid() == int(sys.argv[1]):
    for _ in range(100_000):
        pass
"""


@contextmanager
def busy(cores: int, *, niceness: int = 5) -> Iterator[list[int]]:
    """Keep some cores busy until the block ends; gives the pids of the programs that do."""
    command = [sys.executable, "-c", _PROGRAM, str(os.getpid()), str(niceness)]
    # In sessions of their own: where the kernel groups processes by session, they would count as one of ours.
    running = [subprocess.Popen(command, start_new_session=True) for _ in range(cores)]
    try:
        yield [program.pid for program in running]
    finally:
        for program in running:
            program.kill()
        for program in running:
            program.wait()
