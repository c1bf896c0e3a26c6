"""A group's tasks run until they are stopped; one that ends by itself fails the group and says why."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from livekit_operator.process.groups import Group
from tests.fakes.waiting import eventually


async def for_ever() -> None:
    await asyncio.Event().wait()


async def at_once() -> None: ...


async def broken() -> None:
    raise TypeError("a bug")


async def cancelled() -> None:
    raise asyncio.CancelledError


async def test_a_group_that_is_stopped_has_not_failed_and_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    group, ended = Group(), []

    async def part(name: str) -> None:
        try:
            await for_ever()
        finally:
            ended.append(name)

    assert not group.failed
    for _ in range(2):
        ended.clear()
        group.run(part("a"), part("b"))
        await asyncio.sleep(0)
        assert not group.failed
        await group.stop()
        assert sorted(ended) == ["a", "b"], "it waits for their end"
        assert not group.failed
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (at_once, "a part of the operator has ended: at_once: None"),
        (broken, "a part of the operator has ended: broken: TypeError('a bug')"),
        (cancelled, "a part of the operator has ended: cancelled: CancelledError()"),
    ],
)
async def test_a_part_that_ends_fails_its_group(
    part: Callable[[], Coroutine[Any, Any, None]], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    group = Group()
    group.run(for_ever())
    await group.stop()  # which it gets over
    group.run(for_ever(), part())
    await eventually(lambda: group.failed, "the group to fail")
    await eventually(lambda: told in caplog.text, caplog.text)
    await group.stop()
    assert not group.failed
    assert caplog.text.count("has ended") == 1, "nothing is said of those that were stopped"
