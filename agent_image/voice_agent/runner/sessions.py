"""How many sessions began since the worker started, how many of them failed, and what those that go on do.

A process that crashes or is killed tells by its exit code. An entrypoint that raises does not: its process ends
with code 0 all the same (ipc/job_proc_lazy_main.py). So a job that fails leaves a file named by its id, which
works for jobs in processes and in threads alike. In another one it keeps the state that it shows to the room in the
participant attribute `lk.agent.state`, as the library's sessions do at each turn; the file's time is when it last did.
"""

from __future__ import annotations

import atexit
import contextvars
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

FOLDER_VARIABLE = "LIVEKIT_RUNNER_SESSIONS"
# initializing, listening, thinking, speaking (livekit-agents types.py ATTRIBUTE_AGENT_STATE)
STATE_ATTRIBUTE = "lk.agent.state"

Entrypoint = Callable[[Any], Awaitable[None]]

# The job that code in this process runs for; tasks that it starts have it too.
_job: contextvars.ContextVar[str] = contextvars.ContextVar("livekit_runner_job")


def report_failure(job_id: str) -> None:
    """Say, in the job's process, that its session failed."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        try:
            _file(folder, job_id).touch()
        except OSError:  # the worker is gone, or its disk is full: nobody counts any more
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
        try:
            await self._entrypoint(context)
        except Exception:
            report_failure(context.job.id)
            raise


class Sessions:
    """The worker's count, fed by the events of the library's pool of processes."""

    def __init__(self) -> None:
        self.started = 0
        self.failed = 0

    def take_reports(self) -> None:
        """Make the folder for what jobs report known to the job processes to come; raises OSError."""
        os.environ[FOLDER_VARIABLE] = folder = tempfile.mkdtemp(prefix="livekit-runner-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)

    def on_launched(self, executor: Any) -> None:
        """A job began in a process or thread."""
        del executor
        self.started += 1

    def on_closed(self, executor: Any) -> None:
        """A process or thread ended, with or without having had a job."""
        if executor.running_job is None:
            return
        reported = self._take(executor.running_job.job.id)
        self._take(executor.running_job.job.id, ".state")
        if reported or executor.status.name == "FAILED":
            self.failed += 1

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

    def _take(self, job_id: str, kind: str = "") -> bool:
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder:
            return False
        try:
            _file(folder, job_id, kind).unlink()
        except OSError:
            return False
        return True


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
