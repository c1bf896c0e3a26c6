"""Why idle processes do not become warm: the library only logs it, and starts the next one.

It gives each `initialize_process_timeout` seconds, 10 unless the agent's code or the settings say otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from .sessions import MOST_LETTERS, last_words

# ipc/proc_pool.py `_proc_spawn_task`, the same in all versions since 1.3
LOGGER = "livekit.agents"
MESSAGE = "error initializing process"
# What stands before the words of an exception in the process (ipc/supervised_proc.py `initialize`).
_PREFIX = "process initialization failed: "
# The connection to a process is gone, and so is the process (utils/aio/duplex_unix.py).
_GONE = "DuplexClosed"


class Warmups(logging.Handler):
    """Remembers how the last process that did not become warm failed; `timeout` are the seconds that each is given."""

    def __init__(self, timeout: Callable[[], float | None]) -> None:
        super().__init__(logging.ERROR)
        self.problem: str | None = None
        self._timeout = timeout

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a line of the library's log."""
        error = record.exc_info[1] if record.exc_info else None
        if record.msg == MESSAGE and error is not None:
            self.problem = self._words(error)[:MOST_LETTERS]

    def _words(self, error: BaseException) -> str:
        if isinstance(error, (TimeoutError, asyncio.TimeoutError)):  # two exceptions before Python 3.11
            seconds = self._timeout()
            given = "what it is given" if seconds is None else f"{seconds:g} s"
            return f"the last one took longer than {given}; spec.initializeTimeoutSeconds gives it more"
        if type(error).__name__ == _GONE:
            return "the last one ended before it was warm"
        if str(error).startswith(_PREFIX):
            return f"the last one failed: {' '.join(str(error)[len(_PREFIX) :].split())}"
        return f"the last one failed: {last_words(error)}"
