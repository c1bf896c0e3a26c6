"""How many sessions began since the worker started, and how many of them failed.

A process that crashes or is killed tells by its exit code. An entrypoint that raises does not: its process ends
with code 0 all the same (ipc/job_proc_lazy_main.py). So a job that fails leaves a file named by its id, which
works for jobs in processes and in threads alike.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

FOLDER_VARIABLE = "LIVEKIT_RUNNER_FAILED_SESSIONS"

Entrypoint = Callable[[Any], Awaitable[None]]


def report_failure(job_id: str) -> None:
    """Say, in the job's process, that its session failed."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        try:
            _file(folder, job_id).touch()
        except OSError:  # the worker is gone, or its disk is full: nobody counts any more
            return


def _file(folder: str, job_id: str) -> Path:
    return Path(folder) / job_id.replace("/", "_")


class ReportingEntrypoint:
    """An entrypoint that reports when it raises; a class, because job processes get it pickled."""

    def __init__(self, entrypoint: Entrypoint) -> None:
        self._entrypoint = entrypoint

    async def __call__(self, context: Any) -> None:
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
        """Make the folder for failed jobs known to the job processes to come; raises OSError."""
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
        if reported or executor.status.name == "FAILED":
            self.failed += 1

    def _take(self, job_id: str) -> bool:
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder:
            return False
        try:
            _file(folder, job_id).unlink()
        except OSError:
            return False
        return True
