"""Waiting for conditions."""

import asyncio
import time

import pytest

from tests.caller.waiting import Changes, NotSeenError


async def test_a_wait_ends_when_the_condition_holds() -> None:
    changes, happened = Changes(), False

    async def happen() -> None:
        nonlocal happened
        await asyncio.sleep(0.02)
        happened = True
        changes.notify()

    task = asyncio.create_task(happen())
    await changes.until(lambda: happened, 5, "it to happen")
    await task


async def test_conditions_about_time_need_no_notice() -> None:
    begin = time.monotonic()
    await Changes().until(lambda: time.monotonic() - begin > 0.1, 5, "time to pass")
    assert time.monotonic() - begin < 1


async def test_a_failed_wait_says_what_it_waited_for() -> None:
    with pytest.raises(NotSeenError, match=r"waited 0.05 s for the agent"):
        await Changes().until(lambda: False, 0.05, "the agent")
