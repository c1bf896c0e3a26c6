"""What the bare script is measured at: the floor of what must be done for rooms."""

import statistics
import time
from contextlib import AbstractAsyncContextManager

from tests.benchmarks.rooms import rooms
from tests.benchmarks.rooms.api import OF_ROOMS
from tests.benchmarks.rooms.bench import NAMESPACE, Bench, Bulk
from tests.benchmarks.rooms.processes import Floor
from tests.cluster import progress


class BareScript:
    """Its parts of a run."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._bulks: list[Bulk] = []

    async def measure(self) -> None:
        """Measure creations, one room more, and deletions, and leave no room."""
        async with self._bench.operating():
            await self._bench.new_server("first")
        await self._create(self._bench.count)
        await self._latency()
        await self._delete(self._bench.few)
        await self._clear(self._bench.count + self._bench.options.latency_rooms - self._bench.few)

    async def measure_again(self) -> None:
        """Measure creations once more, and leave neither room nor server."""
        async with self._bench.operating():
            await self._bench.new_server("third")
        await self._create(self._bench.count)
        await self._clear(self._bench.count)
        async with self._bench.operating():
            await self._bench.delete_server()

    async def measure_listing(self) -> None:
        """Measure one listing of all that there is."""
        with progress.step("floor: one listing"):
            began = time.monotonic()
            async with self._started("list", self._bench.count) as floor:
                await floor.cpu_seconds()
            self._bench.tell("floor_list_seconds", time.monotonic() - began)

    async def _create(self, count: int) -> None:
        with progress.step(f"floor: {count} rooms") as step:
            written = await self._bench.api.writes(OF_ROOMS)
            async with self._started("create", count) as floor, self._bench.profiled(f"bare script: {count}"):
                wall = await self._bench.create(count)
                cpu = await floor.cpu_seconds()
            bulk = Bulk(wall, cpu, await self._bench.api.writes(OF_ROOMS) - written - count)
            step.result = bulk.describe(count)
        self._bulks.append(bulk)
        walls = [each.wall for each in self._bulks]
        self._bench.tell("floor_wall_seconds", statistics.mean(walls))
        self._bench.tell("floor_cpu_seconds", statistics.mean(each.cpu for each in self._bulks))
        self._bench.tell("floor_wall_spread", max(walls) / min(walls))

    async def _delete(self, count: int) -> None:
        with progress.step(f"floor: {count} deletions") as step:
            async with self._started("delete", count) as floor:
                wall = await self._bench.delete(rooms.names(count))
                cpu = await floor.cpu_seconds()
            step.result = f"{wall:.1f} s, {cpu:.1f} s of CPU"
        self._bench.tell("floor_delete_seconds", wall)

    async def _latency(self) -> None:
        async with self._started("create", self._bench.options.latency_rooms) as floor:
            await self._bench.latency("floor")
            await floor.cpu_seconds()

    async def _clear(self, left: int) -> None:
        async with self._started("delete", left) as floor:
            await self._bench.clear()
            await floor.cpu_seconds()

    def _started(self, what: str, count: int) -> AbstractAsyncContextManager[Floor]:
        return Floor.started(what, NAMESPACE, count, self._bench.server)
