"""Processes that outlive the command that started them, and are ended only when they are surely ours.

A process is known by its pid and its start time: after a crash, or when the kernel used the pid again, a record
matches nothing. The process writes its record itself, before it becomes the program, so that none runs unrecorded.
"""

import hashlib
import os
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import layout, waiting
from tests.cluster.errors import ClusterError, log_tail
from tests.cluster.stat import Stat

RECORDS = layout.RUN / "processes"

# Arguments: record, digest, the cgroup.procs files to enter, "--", the program. Those of Kubernetes spend much of their
# time on collecting garbage, and memory is there in plenty: they do so when it has grown to five times, not two.
_LAUNCH = """
export GOGC=400
record=$1 digest=$2; shift 2
while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift
read -r stat < /proc/$$/stat; printf '%s\\n%s\\n' "$digest" "$stat" > "$record.new"; mv "$record.new" "$record"
exec "$@"
"""


@dataclass(frozen=True)
class Record:
    """A process we started: its identity, and a digest of what it was started with."""

    digest: str
    stat: Stat

    @classmethod
    def parse(cls, text: str) -> "Record":
        """Read a record file."""
        digest, stat = text.splitlines()
        return cls(digest=digest, stat=Stat.parse(stat))

    def matches(self, now: Stat | None) -> bool:
        """Whether the process that has this pid now is the recorded one, and alive."""
        return now is not None and not now.ended and now.start_time == self.stat.start_time


@dataclass(frozen=True)
class Program:
    """A long-running program: its name, command line and the cgroups it lives in."""

    name: str
    argv: tuple[str, ...]
    cgroup_procs: tuple[Path, ...] = ()
    # What it reads from files, so that a change there restarts it like a change of its command line.
    configuration: str = ""

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return layout.LOGS / f"{self.name}.log"

    @property
    def digest(self) -> str:
        """Changes when the program must be restarted to be what is wanted."""
        return hashlib.sha256("\0".join([_LAUNCH, *self.argv, self.configuration]).encode()).hexdigest()


def ensure(program: Program) -> bool:
    """Have the program run as described; tell whether it had to be started."""
    record = _read(program.name)
    if record and is_alive(program.name):
        if record.digest == program.digest:
            return False
        stop(program.name)
    _start(program)
    return True


def _start(program: Program) -> None:
    RECORDS.mkdir(parents=True, exist_ok=True)
    layout.LOGS.mkdir(parents=True, exist_ok=True)
    record = RECORDS / program.name
    record.unlink(missing_ok=True)
    with program.log.open("ab") as log:
        child = subprocess.Popen(
            ["sh", "-c", _LAUNCH, "sh", record, program.digest, *program.cgroup_procs, "--", *program.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    waiting.wait_for(f"start of {program.name}", lambda: record.exists() or child.poll() is not None, 30)
    if not record.exists():
        raise ClusterError(f"{program.name} did not start{log_tail(program.log)}")
    # It outlives whoever started it, and nobody waits for it: without this Python warns of that.
    child.returncode = 0


def is_alive(name: str) -> bool:
    """Whether the recorded process of this name runs."""
    record = _read(name)
    return record is not None and record.matches(Stat.of(record.stat.pid))


def pid(name: str) -> int | None:
    """The pid in the record of this name."""
    record = _read(name)
    return record.stat.pid if record else None


def require(program: Program) -> None:
    """Fail, with the end of its log, when the program has ended: waiting for it would be in vain."""
    if not is_alive(program.name):
        raise ClusterError(f"{program.name} has ended{log_tail(program.log)}")


def alive() -> list[str]:
    """The names of all recorded processes that run."""
    return [name for name in recorded() if is_alive(name)]


def recorded() -> list[str]:
    """The names of all processes that have a record, running or not."""
    return sorted(path.name for path in RECORDS.glob("*")) if RECORDS.is_dir() else []


def stop(name: str, grace: float = 10) -> None:
    """End the recorded process, by force after the grace period, and drop its record."""
    record = _read(name)
    if record:
        with _pinned(record) as pinned:
            for sent, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 30)):
                if pinned is None or _ended_after(pinned, sent, seconds):
                    break
            else:
                raise ClusterError(f"{name} (pid {record.stat.pid}) does not end")
    (RECORDS / name).unlink(missing_ok=True)


@contextmanager
def _pinned(record: Record) -> Iterator[int | None]:
    """A descriptor that stands for the recorded process whatever becomes of its pid; None when it has ended."""
    try:
        descriptor = os.pidfd_open(record.stat.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor if record.matches(Stat.of(record.stat.pid)) else None
    finally:
        os.close(descriptor)


def _ended_after(descriptor: int, sent: signal.Signals, seconds: float) -> bool:
    try:
        signal.pidfd_send_signal(descriptor, sent)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def kill_all(pids: Sequence[int]) -> None:
    """Kill processes that are ours by where they live, such as in a cgroup of ours."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _read(name: str) -> Record | None:
    try:
        return Record.parse((RECORDS / name).read_text())
    except (FileNotFoundError, ValueError, IndexError):
        # A record cut short by a crash stands for no process: it is moved into place whole.
        return None
