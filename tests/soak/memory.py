"""What the operator's memory does over time, by its own /metrics, and whether it grows."""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiohttp

from tests.harness.kubectl import Kubectl
from tests.harness.operator import count, running_pod
from tests.harness.processes import life

_MIB = 2**20
_EVERY_SECONDS = 2.0
_RESIDENT = "process_resident_memory_bytes"
# What a process may come to need while it does the same again and again: the allocator's fragments, pools of
# connections, caches that fill. A leak of a KiB for each room is more after ten thousand rooms.
MOST_MIB = 10.0
# So that no single moment decides, there must be some.
_FEWEST = 10


@dataclass(frozen=True)
class Sample:
    """The memory of one life of the operator's process, in MiB, at a monotonic moment."""

    at: float
    life: str
    mib: float


@dataclass(frozen=True)
class Growth:
    """By how much memory grew in one life: over so many seconds, from and by so many MiB."""

    seconds: float
    start: float
    mib: float

    @property
    def grows(self) -> bool:
        """Whether that is more than a process may come to need."""
        return self.mib > MOST_MIB

    def __str__(self) -> str:
        """Return it for a person."""
        return f"{self.mib:+.1f} MiB in {self.seconds:.0f} s, from {self.start:.0f} MiB; {MOST_MIB:.0f} at most"


def growth(samples: Sequence[Sample], since: float) -> Growth | None:
    """Return by how much the last life grew since a moment, None where too little was seen of it.

    By the median of the slopes between all pairs (Theil-Sen): a peak, wherever it is, hardly counts.
    """
    seen = [sample for sample in samples if sample.at >= since and sample.life == samples[-1].life]
    if len(seen) < _FEWEST:
        return None
    slopes = [(b.mib - a.mib) / (b.at - a.at) for a, b in itertools.combinations(seen, 2)]
    seconds = seen[-1].at - seen[0].at
    return Growth(seconds, seen[0].mib, statistics.median(slopes) * seconds)


@asynccontextmanager
async def sampled(operator: Kubectl) -> AsyncIterator[list[Sample]]:
    """Give samples as they are taken, until the block ends; there are none while the operator is away."""
    samples: list[Sample] = []

    async def take(session: aiohttp.ClientSession) -> None:
        pod = await running_pod(operator)
        mib = await count(session, pod, _RESIDENT) / _MIB
        if mib:
            samples.append(Sample(time.monotonic(), str(life(pod)), mib))

    async def go_on() -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while True:
                with suppress(aiohttp.ClientError, TimeoutError):
                    await take(session)
                await asyncio.sleep(_EVERY_SECONDS)

    task = asyncio.create_task(go_on())
    try:
        yield samples
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
    if not isinstance(ended, asyncio.CancelledError):
        raise ended or RuntimeError("nobody looked at the operator's memory any more")
