"""A worker never holds more jobs than it may."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from voice_agent.runner.capacity import CapacityGuard, Decision, accept


def job(job_id: str) -> Any:
    return SimpleNamespace(id=job_id, dispatch_id=f"AD_{job_id}", room=SimpleNamespace(name=f"room of {job_id}"))


class Request:
    """A job request whose assignment comes when the test says so."""

    def __init__(self, job_id: str, running: list[Any]) -> None:
        self.job = job(job_id)
        self.answer: str | None = None
        self.assigned: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._running = running

    async def accept(self) -> None:
        self.answer = "accepted"
        if not await self.assigned:
            raise TimeoutError
        self._running.append(self.job)

    async def reject(self, *, terminate: bool = True) -> None:
        self.answer = f"rejected, terminate={terminate}"


class EarlierRequest(Request):
    """As up to livekit-agents 1.3."""

    async def reject(self) -> None:  # type: ignore[override]
        self.answer = "rejected"


async def offer(guard: CapacityGuard, request: Request, decide: Decision = accept) -> asyncio.Task[None]:
    task = asyncio.create_task(guard.answer(request, decide))
    await asyncio.sleep(0)
    return task


async def test_simultaneous_requests_share_what_is_free() -> None:
    running = [job("a")]
    guard = CapacityGuard(3, lambda: running)
    requests = [Request(name, running) for name in "bcd"]
    tasks = [await offer(guard, request) for request in requests]
    assert [request.answer for request in requests] == ["accepted", "accepted", "rejected, terminate=False"]
    assert (guard.occupied, guard.load) == (3, 1.0)
    for request in requests:
        request.assigned.set_result(True)
    await asyncio.gather(*tasks)
    assert sorted(guard.jobs) == ["a", "b", "c"]


async def test_a_place_is_kept_while_somebody_decides() -> None:
    guard = CapacityGuard(1, list)
    decided = asyncio.Event()

    async def decline_later(request: Any) -> None:
        await decided.wait()
        await request.reject()

    first, second = Request("a", []), Request("b", [])
    task = await offer(guard, first, decline_later)
    await offer(guard, second)
    assert (first.answer, second.answer, guard.occupied) == (None, "rejected, terminate=False", 1)
    decided.set()
    await task
    assert (first.answer, guard.occupied) == ("rejected, terminate=True", 0)


async def test_an_earlier_library_is_refused_without_an_argument_it_does_not_know() -> None:
    request = EarlierRequest("b", [])
    await offer(CapacityGuard(1, lambda: [job("a")]), request)
    assert request.answer == "rejected"


async def test_a_place_comes_back_when_the_assignment_never_arrives() -> None:
    guard = CapacityGuard(1, list)
    request = Request("a", [])
    task = await offer(guard, request)
    assert guard.occupied == 1
    request.assigned.set_result(False)
    with pytest.raises(TimeoutError):
        await task
    assert (guard.occupied, guard.load) == (0, 0.0)


async def test_a_job_both_promised_and_running_counts_once() -> None:
    guard = CapacityGuard(4, lambda: [job("a"), job("b")])
    with guard.promise(job("b")) as granted:
        assert granted
        assert guard.occupied == 2
        with guard.promise(job("b")) as twice:
            assert not twice


def test_a_job_keeps_the_time_at_which_it_was_promised() -> None:
    running: list[Any] = []
    guard = CapacityGuard(2, lambda: running)
    with guard.promise(job("a")):
        promised = guard.document()
        running.append(job("a"))
    assert guard.document() == promised
    assert (promised[0]["dispatchId"], promised[0]["room"]) == ("AD_a", "room of a")
    assert promised[0]["startedAt"].endswith("Z")
    running.clear()
    assert guard.document() == []


@pytest.mark.parametrize(("running", "load"), [(0, 0.0), (1, 0.25), (3, 0.75), (4, 1.0), (5, 1.0)])
def test_load(running: int, load: float) -> None:
    assert CapacityGuard(4, lambda: [job(str(number)) for number in range(running)]).load == load
