"""A worker never holds more jobs than it may."""

import asyncio

import pytest

from voice_agent.runner.capacity import CapacityGuard


class Request:
    """A job request whose assignment comes when the test says so."""

    def __init__(self, job_id: str, running: list[str]) -> None:
        self.id = job_id
        self.answer: str | None = None
        self.assigned: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._running = running

    async def accept(self) -> None:
        self.answer = "accepted"
        if not await self.assigned:
            raise TimeoutError
        self._running.append(self.id)

    async def reject(self, *, terminate: bool = True) -> None:
        self.answer = f"rejected, terminate={terminate}"


async def offer(guard: CapacityGuard, request: Request) -> asyncio.Task[None]:
    task = asyncio.create_task(guard.on_request(request))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    return task


async def test_simultaneous_requests_share_what_is_free() -> None:
    running = ["a"]
    guard = CapacityGuard(3, lambda: running)
    requests = [Request(name, running) for name in "bcd"]
    tasks = [await offer(guard, request) for request in requests]
    assert [request.answer for request in requests] == ["accepted", "accepted", "rejected, terminate=False"]
    assert (guard.occupied, guard.load) == (3, 1.0)
    for request in requests:
        request.assigned.set_result(True)
    await asyncio.gather(*tasks)
    assert sorted(running) == ["a", "b", "c"]
    assert guard.occupied == 3


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
    guard = CapacityGuard(4, lambda: ["a", "b"])
    with guard.promise("b") as granted:
        assert granted
        assert guard.occupied == 2
        with guard.promise("b") as twice:
            assert not twice


@pytest.mark.parametrize(("running", "load"), [(0, 0.0), (1, 0.25), (3, 0.75), (4, 1.0), (5, 1.0)])
def test_load(running: int, load: float) -> None:
    assert CapacityGuard(4, lambda: [str(number) for number in range(running)]).load == load
