"""A job that was taken back before it had a process is ended once it has one, and no other is."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from voice_agent.runner.terminations import Terminations


class Executor:
    """A process of the library's with a job, or without one."""

    def __init__(self, job_id: str | None, failure: Exception | None = None) -> None:
        self.running_job = None if job_id is None else SimpleNamespace(job=SimpleNamespace(id=job_id))
        self.closed = 0
        self._failure = failure

    async def aclose(self) -> None:
        """End the process."""
        self.closed += 1
        if self._failure:
            raise self._failure


def terminations(handled: list[str], **running: Executor) -> Terminations:
    async def handle(message: Any) -> None:
        handled.append(message.job_id)

    return Terminations(SimpleNamespace(get_by_job_id=running.get), handle)


async def told(of: Terminations, *job_ids: str) -> None:
    for job_id in job_ids:
        await of.on_termination(SimpleNamespace(job_id=job_id))


@pytest.mark.parametrize(
    ("launched", "closed"),
    [("early", 1), ("running", 0), ("another", 0), (None, 0)],
)
async def test_only_what_was_taken_back_too_early_is_ended(launched: str | None, closed: int) -> None:
    handled: list[str] = []
    of = terminations(handled, running=Executor("running"))
    await told(of, "early", "running")
    assert handled == ["early", "running"], "the library hears of both"
    executor = Executor(launched)
    of.on_launched(executor)
    await asyncio.sleep(0)
    assert executor.closed == closed


async def test_only_the_last_ones_are_remembered() -> None:
    of = terminations([])
    await told(of, *(f"AJ_{number}" for number in range(257)))
    forgotten, known = Executor("AJ_0"), Executor("AJ_1")
    for executor in (forgotten, known):
        of.on_launched(executor)
    await asyncio.sleep(0)
    assert (forgotten.closed, known.closed) == (0, 1)


async def test_a_process_that_does_not_end_is_told_and_nothing_else_fails(caplog: pytest.LogCaptureFixture) -> None:
    of = terminations([])
    await told(of, "early")
    of.on_launched(Executor("early", RuntimeError("no answer")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "a job that was taken back could not be ended" in caplog.text
    assert "no answer" in caplog.text
