"""One object's failure stops neither the others nor the object's own next try."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from livekit_operator.engine.cache import Key
from livekit_operator.engine.controller import Controller
from livekit_operator.engine.queue import FIRST_BACKOFF_SECONDS
from livekit_operator.errors import Conflict, KubernetesError
from livekit_operator.metrics import Metrics
from tests.fakes.waiting import eventually

A, B = ("team", "a"), ("team", "b")


@asynccontextmanager
async def running(
    reconcile: Callable[[Key], Awaitable[float | None]], metrics: Metrics | None = None, workers: int = 2
) -> AsyncIterator[Controller]:
    controller = Controller("MeetingRoom", reconcile, metrics or Metrics(), workers)
    task = asyncio.create_task(controller.run())
    yield controller
    assert not task.done(), "a controller never ends by itself"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def count(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, {"kind": "MeetingRoom", **labels}) or 0.0


async def test_every_key_is_reconciled_once() -> None:
    seen: list[Key] = []

    async def reconcile(key: Key) -> None:
        seen.append(key)

    metrics = Metrics()
    async with running(reconcile, metrics) as controller:
        for _ in range(5):
            controller.queue.add(A)
            controller.queue.add(B)
        await eventually(lambda: count(metrics, "livekit_operator_reconcile_total", result="ok") == 2)
        assert seen == [A, B]
    assert count(metrics, "livekit_operator_reconcile_duration_seconds_count") == 2


@pytest.mark.parametrize("error", [ValueError("a bug"), KubernetesError(500, "Broken", "m"), Conflict(409, "C", "m")])
async def test_an_error_backs_off_and_others_go_on(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Key] = []

    async def reconcile(key: Key) -> None:
        seen.append(key)
        if key == A and seen.count(A) < 2:
            raise error

    metrics = Metrics()
    with caplog.at_level(logging.DEBUG):
        async with running(reconcile, metrics, workers=1) as controller:
            controller.queue.add(A)
            controller.queue.add(B)
            await eventually(lambda: count(metrics, "livekit_operator_reconcile_total", result="ok") == 2)
    assert seen == [A, B, A]
    assert count(metrics, "livekit_operator_reconcile_total", result="error") == 1
    assert count(metrics, "livekit_operator_reconcile_errors_total", error=type(error).__name__) == 1
    levels = {record.levelno for record in caplog.records if "reconcile failed" in record.message}
    assert levels == {logging.DEBUG if isinstance(error, Conflict) else logging.ERROR}


async def test_a_success_starts_the_backoff_anew() -> None:
    outcomes: list[Exception | None] = [ValueError("first"), None]

    async def reconcile(_: Key) -> None:
        if outcome := outcomes.pop(0):
            raise outcome

    metrics = Metrics()
    async with running(reconcile, metrics) as controller:
        controller.queue.add(A)
        await eventually(lambda: count(metrics, "livekit_operator_reconcile_total", result="ok") == 1)
        assert controller.queue.add_failed(A) == FIRST_BACKOFF_SECONDS


async def test_a_key_comes_back_when_it_wants_to() -> None:
    seen: list[Key] = []

    async def reconcile(key: Key) -> float | None:
        seen.append(key)
        return 0.01 if len(seen) < 3 else None

    async with running(reconcile) as controller:
        controller.queue.add(A)
        await eventually(lambda: len(seen) == 3)


async def test_work_is_done_at_the_same_time_but_never_twice_on_one_object() -> None:
    working: list[Key] = []
    most = 0
    release = asyncio.Event()

    async def reconcile(key: Key) -> None:
        nonlocal most
        assert key not in working
        working.append(key)
        most = max(most, len(working))
        await release.wait()
        working.remove(key)

    async with running(reconcile, workers=3) as controller:
        for name in "abcde":
            controller.queue.add(("team", name))
        await eventually(lambda: len(working) == 3)
        controller.queue.add(("team", "a"))
        release.set()
        await eventually(lambda: not working and not len(controller.queue))
    assert most == 3


async def test_the_queue_is_measured() -> None:
    metrics = Metrics()
    block = asyncio.Event()

    async def reconcile(key: Key) -> None:
        await block.wait()

    async with running(reconcile, metrics, workers=1) as controller:
        for name in "abc":
            controller.queue.add(("team", name))
        await eventually(lambda: count(metrics, "livekit_operator_queue_depth") == 2)
        block.set()
        await eventually(lambda: count(metrics, "livekit_operator_queue_depth") == 0)


async def test_first_passes_are_over_when_everything_was_looked_at() -> None:
    allowed, seen = asyncio.Event(), []

    async def reconcile(key: Key) -> float:
        await allowed.wait()
        seen.append(key)
        return 3600.0  # what waits for its time is not waited for

    async with running(reconcile) as controller:
        await controller.first_passes()  # nothing to look at
        controller.queue.add(A)
        controller.queue.add(B)
        waiting = asyncio.create_task(controller.first_passes())
        await eventually(lambda: not len(controller.queue))
        assert not waiting.done()
        allowed.set()
        await waiting
        assert sorted(seen) == [A, B]


async def test_what_is_cancelled_from_outside_is_a_failure_and_ends_no_worker(caplog: pytest.LogCaptureFixture) -> None:
    """As when a client is closed while somebody waits for the address of its host."""
    shared: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting, seen = 0, []

    async def reconcile(key: Key) -> None:
        nonlocal waiting
        if not shared.done():
            waiting += 1
            await shared
        seen.append(key)

    metrics = Metrics()
    async with running(reconcile, metrics) as controller:
        controller.queue.add(A)
        controller.queue.add(B)
        await eventually(lambda: waiting == 2)
        shared.cancel()
        await eventually(lambda: sorted(seen) == [A, B], "the next try of both")
    assert count(metrics, "livekit_operator_reconcile_errors_total", error="CancelledError") == 2
    assert "reconcile failed, next try in 0.2 s: CancelledError" in caplog.text


async def test_a_worker_that_is_told_to_end_does(caplog: pytest.LogCaptureFixture) -> None:
    started = asyncio.Event()

    async def reconcile(_: Key) -> None:
        started.set()
        await asyncio.Event().wait()

    metrics = Metrics()
    async with running(reconcile, metrics) as controller:
        controller.queue.add(A)
        await started.wait()
    assert count(metrics, "livekit_operator_reconcile_total", result="error") == 0
    assert "reconcile failed" not in caplog.text
