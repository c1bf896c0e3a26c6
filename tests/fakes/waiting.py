"""Waiting for a condition instead of for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable

PATIENCE_SECONDS = 10.0


async def eventually(condition: Callable[[], object], what: str = "", *, seconds: float = PATIENCE_SECONDS) -> None:
    """Return as soon as the condition holds; fails with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        await asyncio.sleep(0.002)


async def eventually_async(
    condition: Callable[[], Awaitable[object]], what: str, *, seconds: float, pause: float = 0.1
) -> None:
    """Return as soon as a condition that must be asked for holds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(pause)
