"""Waits for conditions, never for time; a wait that fails says what it waited for."""

import asyncio
import time
from collections.abc import Callable

_LONGEST_SLEEP = 0.05  # conditions about elapsed silence become true without anything happening


class NotSeenError(TimeoutError):
    """Something did not happen in time."""


class Changes:
    """Wakes those who wait whenever something happened."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Return when the condition holds; raise after that many seconds with what was waited for."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise NotSeenError(f"waited {seconds:g} s for {what}")
            try:
                await asyncio.wait_for(self._event.wait(), min(left, _LONGEST_SLEEP))
            except TimeoutError:
                continue
