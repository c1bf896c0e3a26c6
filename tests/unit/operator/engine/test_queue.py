"""A key is worked on once at a time, no event is lost, and delays and backoffs are kept."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.engine.queue import FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS, WorkQueue
from tests.fakes.waiting import eventually


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def taken(queue: WorkQueue[str]) -> str | None:
    """Return the next key, None when none is ready."""
    task = asyncio.create_task(queue.get())
    await asyncio.sleep(0)  # one turn is enough: a ready key is handed over without waiting
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


async def all_taken(queue: WorkQueue[str]) -> list[str]:
    found = []
    while (key := await taken(queue)) is not None:
        found.append(key)
    return found


async def test_keys_come_in_the_order_they_were_added() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "cab":
        queue.add(key)
    assert len(queue) == 3
    assert await all_taken(queue) == ["c", "a", "b"]
    assert len(queue) == 0


async def test_a_thousand_events_cost_one_pass() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(1000):
        queue.add("a")
    assert await all_taken(queue) == ["a"]


async def test_an_event_during_the_work_makes_it_come_back_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await taken(queue) == "a"
    queue.add("a")
    queue.add("a")
    assert await taken(queue) is None, "a key is never worked on twice at once"
    queue.done("a")
    assert await all_taken(queue) == ["a"]
    queue.done("a")
    assert await taken(queue) is None


async def test_a_waiting_worker_is_woken() -> None:
    queue: WorkQueue[str] = WorkQueue()
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.add("a")
    queue.add("b")
    async with asyncio.timeout(5):
        done, pending = await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 2:
            more, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            done |= more
    assert sorted(task.result() for task in done) == ["a", "b"]
    for task in pending:
        task.cancel()


async def test_a_cancelled_worker_takes_no_key_with_it() -> None:
    queue: WorkQueue[str] = WorkQueue()
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    queue.add("a")
    assert await taken(queue) == "a"


async def test_a_delay_passes() -> None:
    time = Time()
    queue: WorkQueue[str] = WorkQueue(time)
    queue.add_after("a", 5.0)
    assert await taken(queue) is None
    time.now += 4.9
    assert await taken(queue) is None
    time.now += 0.2
    assert await all_taken(queue) == ["a"]


async def test_the_earliest_delay_wins() -> None:
    time = Time()
    queue: WorkQueue[str] = WorkQueue(time)
    for delay in (9.0, 3.0, 6.0):
        queue.add_after("a", delay)
    time.now += 3.0
    assert await all_taken(queue) == ["a"]
    queue.done("a")
    time.now += 100.0
    assert await all_taken(queue) == [], "the later ones are not passes of their own"


async def test_adding_now_replaces_a_delay() -> None:
    time = Time()
    queue: WorkQueue[str] = WorkQueue(time)
    queue.add_after("a", 5.0)
    queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a")
    time.now += 10.0
    assert await taken(queue) is None


async def test_a_delay_is_not_needed_for_a_key_that_comes_anyway() -> None:
    time = Time()
    queue: WorkQueue[str] = WorkQueue(time)
    queue.add("a")
    queue.add_after("a", 5.0)
    assert await taken(queue) == "a"
    queue.add("a")
    queue.add_after("a", 5.0)  # dirty: it comes back at once
    queue.done("a")
    assert await taken(queue) == "a"
    queue.done("a")
    time.now += 10.0
    assert await taken(queue) is None


async def test_a_delay_set_during_the_work_is_kept() -> None:
    time = Time()
    queue: WorkQueue[str] = WorkQueue(time)
    queue.add("a")
    await taken(queue)
    queue.add_after("a", 5.0)
    queue.done("a")
    assert await taken(queue) is None
    time.now += 5.0
    assert await taken(queue) == "a"


async def test_a_delay_that_ends_during_the_work_makes_it_come_back() -> None:
    time = Time()
    queue: WorkQueue[str] = WorkQueue(time)
    queue.add("a")
    await taken(queue)
    queue.add_after("a", 1.0)
    time.now += 2.0
    assert await taken(queue) is None
    queue.done("a")
    assert await taken(queue) == "a"


async def test_real_time_passes_without_an_event() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0.01)
    async with asyncio.timeout(5):
        assert await queue.get() == "a"


async def test_an_earlier_delay_wakes_a_worker_that_waits_for_a_later_one() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("late", 3600)
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after("soon", 0.01)
    async with asyncio.timeout(5):
        assert await worker == "soon"


async def test_the_backoff_doubles_up_to_its_limit_and_starts_anew() -> None:
    queue: WorkQueue[str] = WorkQueue(Time())
    delays = [queue.add_failed("a") for _ in range(12)]
    assert delays[:4] == [FIRST_BACKOFF_SECONDS * factor for factor in (1, 2, 4, 8)]
    assert delays[-1] == LONGEST_BACKOFF_SECONDS
    assert queue.add_failed("b") == FIRST_BACKOFF_SECONDS
    queue.forget_failures("a")
    assert queue.add_failed("a") == FIRST_BACKOFF_SECONDS


async def test_dropping_forgets_delay_and_failures() -> None:
    time = Time()
    queue: WorkQueue[str] = WorkQueue(time)
    queue.add_failed("a")
    queue.add_failed("a")
    queue.drop("a")
    time.now += 100.0
    assert await taken(queue) is None
    assert queue.add_failed("a") == FIRST_BACKOFF_SECONDS


@given(st.lists(st.tuples(st.sampled_from(["add", "later", "get", "done", "tick"]), st.sampled_from("abc"))))
def test_no_event_is_lost_and_no_key_is_worked_on_twice(steps: list[tuple[str, str]]) -> None:
    async def run() -> None:
        time = Time()
        queue: WorkQueue[str] = WorkQueue(time)
        owed: set[str] = set()  # keys with an event that no pass has begun after
        working: set[str] = set()
        for step, key in steps:
            if step == "add":
                queue.add(key)
                owed.add(key)
            elif step == "later":
                queue.add_after(key, 5.0)
                owed.add(key)
            elif step == "tick":
                time.now += 5.0
            elif step == "get" and (got := await taken(queue)) is not None:
                assert got not in working
                assert got in owed
                working.add(got)
                owed.discard(got)
            elif step == "done" and key in working:
                queue.done(key)
                working.discard(key)
        for key in working:
            queue.done(key)
        time.now += 5.0
        assert set(await all_taken(queue)) == owed

    asyncio.run(run())


async def test_delays_that_were_overtaken_take_no_memory() -> None:
    queue: WorkQueue[str] = WorkQueue(lambda: 0.0)
    for _ in range(5000):
        queue.add("room")
        key = await queue.get()
        queue.add_after(key, 14400)
        queue.done(key)
    assert len(queue._heap) < 100


async def test_one_key_wakes_one_of_those_that_wait() -> None:
    queue: WorkQueue[str] = WorkQueue()
    workers = [asyncio.create_task(queue.get()) for _ in range(8)]
    await asyncio.sleep(0)
    queue.add("a")
    queue.add("b")
    await eventually(lambda: sum(worker.done() for worker in workers) == 2)
    assert sorted(worker.result() for worker in workers if worker.done()) == ["a", "b"]
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def test_a_key_is_not_lost_with_the_worker_that_was_woken_for_it() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()  # in the same moment, before it took the key
    assert await second == "a"
    assert first.cancelled()


async def test_who_gave_up_waiting_is_passed_over() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    queue.add("a")
    assert await second == "a"


async def test_a_queue_that_is_cleared_holds_nothing_and_goes_on() -> None:
    time = Time()
    queue: WorkQueue[str] = WorkQueue(time)
    queue.add("ready")
    queue.add_after("later", 5)
    queue.add_failed("failed")
    queue.add("worked")
    assert await taken(queue) == "ready"
    queue.add("ready")
    queue.done("ready")
    queue.clear()
    time.now += 100
    assert await taken(queue) is None
    assert len(queue) == 0
    assert queue.idle
    assert queue.add_failed("failed") == FIRST_BACKOFF_SECONDS, "its failures are forgotten"
    queue.add("again")
    assert await taken(queue) == "again"
