"""How many sessions began since the worker started, what those that go on do, and how the last ones ended.

A process that crashes or is killed tells by its exit code. An entrypoint that raises does not: its process ends
with code 0 all the same (ipc/job_proc_lazy_main.py). So a job that fails leaves a file named by its id, with why, which
works for jobs in processes and in threads alike. In another one it keeps the state that it shows to the room in the
participant attribute `lk.agent.state`, as the library's sessions do at each turn; the file's time is when it last did.

A job whose connection to the room broke for good, or that is ended because its worker stops, ends as one that left on
purpose does. It is told as failed, for its caller needs another agent, and not counted, for the agent has done nothing
wrong.
"""

from __future__ import annotations

import atexit
import contextvars
import functools
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .memory import Memory

FOLDER_VARIABLE = "LIVEKIT_RUNNER_SESSIONS"
# initializing, listening, thinking, speaking (livekit-agents types.py ATTRIBUTE_AGENT_STATE)
STATE_ATTRIBUTE = "lk.agent.state"
# Reasons of livekit.rtc's DisconnectReason by which an agent leaves as it, its app or its people want. Connections
# that break, and servers that go, have others.
_ON_PURPOSE = frozenset(
    {"CLIENT_INITIATED", "DUPLICATE_IDENTITY", "PARTICIPANT_REMOVED", "ROOM_DELETED", "ROOM_CLOSED"}
)

# As many ended jobs are told of, the last ones: whoever asks every few seconds misses none.
MOST_ENDED = 64
# Of what is told of a failure: a status of any length is not read by the operator.
MOST_LETTERS = 300

Entrypoint = Callable[[Any], Awaitable[None]]

# The job that code in this process runs for; tasks that it starts have it too.
_job: contextvars.ContextVar[str] = contextvars.ContextVar("livekit_runner_job")


def report_failure(job_id: str, why: str) -> None:
    """Say, in the job's process, that its session failed; the first reason counts."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        try:
            with _file(folder, job_id).open("x", encoding="utf-8", errors="replace") as file:
                file.write(why[:MOST_LETTERS])
        except OSError:  # the worker is gone, or its disk is full: nobody counts any more
            return


def report_cut(job_id: str, why: str) -> None:
    """Say, in the job's process, that its session was cut off, which is no fault of its own; the last reason counts."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        try:
            _file(folder, job_id, ".cut").write_text(why[:MOST_LETTERS], encoding="utf-8", errors="replace")
        except OSError:
            return


def report_state(job_id: str, state: str) -> None:
    """Say, in the job's process, what its session does from now on."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        try:
            _file(folder, job_id, ".state").write_text(state, encoding="utf-8")
        except OSError:
            return


def _watch_states() -> None:
    """Have the states reported that sessions set as attributes; a library without them is no reason to fail a call."""
    participant: Any = getattr(sys.modules.get("livekit.rtc"), "LocalParticipant", None)
    original = getattr(participant, "set_attributes", None)
    if original is None or hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    async def set_attributes(self: Any, attributes: dict[str, str]) -> None:
        job_id = _job.get(None)
        if job_id and STATE_ATTRIBUTE in attributes:
            report_state(job_id, attributes[STATE_ATTRIBUTE])
        await original(self, attributes)

    participant.set_attributes = set_attributes


def _file(folder: str, job_id: str, kind: str = "") -> Path:
    return Path(folder) / (job_id.replace("/", "_") + kind)


class ReportingEntrypoint:
    """An entrypoint that reports when it raises; a class, because job processes get it pickled."""

    def __init__(self, entrypoint: Entrypoint) -> None:
        self._entrypoint = entrypoint

    async def __call__(self, context: Any) -> None:
        _job.set(context.job.id)
        _watch_states()
        _watch_connection(context)
        try:
            await self._entrypoint(context)
        except Exception as error:
            report_failure(context.job.id, last_words(error))
            raise


def _watch_connection(context: Any) -> None:
    """Have it reported when the connection to the room breaks for good."""
    on, job_id = getattr(getattr(context, "room", None), "on", None), context.job.id
    if on is None:
        return

    def disconnected(*reasons: Any) -> None:
        kind = getattr(sys.modules.get("livekit.rtc"), "DisconnectReason", None)
        try:
            name = str(kind.Name(reasons[0])) if kind is not None else ""
        except (IndexError, TypeError, ValueError):  # another version of the library, which does not say
            return
        if name and name not in _ON_PURPOSE:
            report_cut(job_id, f"its connection to the server broke ({name})")

    on("disconnected", disconnected)


def last_words(error: BaseException) -> str:
    """An exception as a traceback ends with it, on one line."""
    return " ".join("".join(traceback.format_exception_only(type(error), error)).split())


class Sessions:
    """The worker's count, fed by the events of the library's pool of processes."""

    def __init__(self) -> None:
        self.started = 0
        self.failed = 0
        self.ended: deque[dict[str, Any]] = deque(maxlen=MOST_ENDED)
        # whether the jobs that are left are ended because the worker stops
        self.cutting = False
        self._begun: dict[str, float] = {}
        self._memory = Memory()

    def take_reports(self) -> None:
        """Make the folder for what jobs report known to the job processes to come; raises OSError."""
        os.environ[FOLDER_VARIABLE] = folder = tempfile.mkdtemp(prefix="livekit-runner-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)

    def on_launched(self, executor: Any) -> None:
        """A job began in a process or thread."""
        self.started += 1
        if executor.running_job is not None:
            self._begun[executor.running_job.job.id] = time.monotonic()

    def on_closed(self, executor: Any) -> None:
        """A process or thread ended, with or without having had a job."""
        if executor.running_job is None:
            return
        job = executor.running_job.job
        begun = self._begun.pop(job.id, None)
        error = self._take(job.id)
        self._take(job.id, ".state")
        cut = self._take(job.id, ".cut")
        if self.cutting:
            cut = "its worker was stopped, which waited no longer for the call to end"
        if error is None and executor.status.name == "FAILED":
            error = self.exit_words(executor, "the job's process")
        self.failed += error is not None
        was_cut, error = error is None and cut is not None, error or cut
        self.ended.append(
            {
                "id": job.id,
                "dispatchId": job.dispatch_id,
                "room": job.room.name,
                "failed": error is not None,
                "error": error,
                "cut": was_cut,
                "seconds": None if begun is None else int(time.monotonic() - begun),
                "endedAt": _text(datetime.now(timezone.utc)),  # noqa: UP017  Python 3.9
            }
        )

    def exit_words(self, executor: Any, what: str) -> str:
        """How a process ended that did not end by itself, or not well; threads have no exit code."""
        code = getattr(executor, "exitcode", None)
        if code is None:
            return "the job ended by a failure"
        if code != -signal.SIGKILL or getattr(executor, "killed", False):
            return f"{what} ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"
        if self._memory.was_short():
            limit = self._memory.limit()
            most = f"the container's limit of {limit}" if limit else "the node has"
            return f"OOMKilled: {what} needed more memory than {most}; raise spec.resources.limits.memory"
        return f"{what} was killed (SIGKILL), by the kernel for lack of memory or by somebody"

    def activity(self, job_id: str) -> dict[str, str | None]:
        """What the session of a job does, and since when; None for one that did not say."""
        folder = os.environ.get(FOLDER_VARIABLE)
        try:
            if not folder:
                raise FileNotFoundError
            path = _file(folder, job_id, ".state")
            since = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)  # noqa: UP017  Python 3.9
            return {"state": path.read_text(encoding="utf-8"), "lastActivityAt": _text(since)}
        except (OSError, ValueError):
            return {"state": None, "lastActivityAt": None}

    def _take(self, job_id: str, kind: str = "") -> str | None:
        """Remove what a job reported and return it, None where it reported nothing."""
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder:
            return None
        path = _file(folder, job_id, kind)
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
            path.unlink()
        except OSError:
            return None
        return text


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
