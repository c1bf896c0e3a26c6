"""Keeps Python 3.11 from hanging for good when one of its threads looks at the stacks of the others.

livekit-agents does so whenever an event loop was held up, so a worker would hang just when it has much to do
(telemetry/loop_monitor.py). `sys._current_frames` holds a lock of the interpreter while it makes objects; when that
starts a garbage collection, which may give way to a thread that wants the same lock, both wait for ever
(python/cpython#106883; mended in 3.11.12, and in 3.12 nothing is collected in there).
"""

from __future__ import annotations

import functools
import gc
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

Frames = Callable[[], "dict[int, Any]"]


def without_collection(look: Frames) -> Frames:
    """Return the same function, during which nothing is collected."""
    turn = threading.Lock()
    # No process is forked in the middle of a look: its copy of the lock would never be free.
    os.register_at_fork(before=turn.acquire, after_in_parent=turn.release, after_in_child=turn.release)

    @functools.wraps(look)
    def current_frames() -> dict[int, Any]:
        with turn:  # or a second caller would find collection off, and the first one turn it on under it
            collects = gc.isenabled()
            gc.disable()
            try:
                return look()
            finally:
                if collects:
                    gc.enable()

    return current_frames


def protect() -> None:
    """Have this process, and those forked from it, look at stacks safely."""
    if (3, 11) <= sys.version_info < (3, 11, 12) and not hasattr(sys._current_frames, "__wrapped__"):
        sys._current_frames = without_collection(sys._current_frames)
