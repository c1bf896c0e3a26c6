"""What the operator is measured at: many rooms, nothing to do, a restart, one room more, deletions, renewals."""

import asyncio
import time
from contextlib import AsyncExitStack

from livekit_operator.clients.api_resources import RESOURCES
from livekit_operator.constants import FIELD_MANAGER
from livekit_operator.rooms.manifests.token_secret import RENEWAL_SPREAD
from tests.benchmarks.rooms import rooms, trail
from tests.benchmarks.rooms.api import OF_ROOMS
from tests.benchmarks.rooms.bench import FEW, NAMESPACE, Bench, Bulk
from tests.benchmarks.rooms.of_bare_script import BareScript
from tests.benchmarks.rooms.processes import READS, WRITES, WRITES_OF_ROOMS, Operator
from tests.benchmarks.rooms.renewals import Renewals
from tests.cluster import progress
from tests.harness.kubectl import until

# What follows the last room: events of our own writes.
_SETTLE_SECONDS = 2.0
_ALL = tuple(resource.plural for resource in RESOURCES.values())
# For each room: its own creation, its claim with the finalizer, its status; its token's Secret.
_PROMISED_CHANGES = {"meetingrooms": 3, "secrets": 1, "events": 0}


class MeasuredOperator:
    """Its part of a run, and the bare script's listing, with which its restart is compared."""

    def __init__(self, bench: Bench, bare_script: BareScript) -> None:
        self._bench = bench
        self._bare_script = bare_script

    async def measure(self) -> None:
        """Measure all of it, and leave neither room nor server."""
        async with self._bench.operating() as operator:
            # A new one: the other still has the deletions to tell, which nobody has heard of yet.
            await self._bench.new_server("second")
            if self._bench.count > FEW and not self._bench.options.operator_only:
                await self._create(operator, FEW)
                await self._bench.clear()
            await self._create(operator, self._bench.count)
            self._bench.tell("peak_rss_mib", operator.peak_rss_mib)
            await self._idle(operator)
        async with AsyncExitStack() as operating:
            async with trail.following(self._bench.api) as seen:
                # Just before the restart, which it is compared with, and of the same objects.
                await self._bare_script.measure_listing()
                written = await self._bench.api.requests_of(WRITES_OF_ROOMS, WRITES)
                operator = await operating.enter_async_context(self._bench.operating())
                await self._restarted(operator, written)
                self._bench.notes["operator: restart"] = [
                    *trail.counted_beyond(own := await operator.changing(), {}, own),
                    *seen.beyond(dict.fromkeys(_ALL, 0), manager=FIELD_MANAGER),
                ]
            await self._bench.latency("operator")
            await self._delete(operator, self._bench.few)
            if self._bench.options.renewals:
                await self._renewals()
            await self._bench.clear()
            await self._bench.delete_server()

    async def _create(self, operator: Operator, count: int) -> None:
        with progress.step(f"operator: {count} rooms") as step:
            async with trail.following(self._bench.api) as seen:
                # Its own alone: the garbage collector may still be at the rooms before, and kubelets write Events.
                written, used = await self._bench.api.requests_of(WRITES_OF_ROOMS), operator.cpu_seconds
                counted, own = await self._bench.api.changing(), await operator.changing()
                async with self._bench.profiled(f"operator: {count}"):
                    wall = await self._bench.create(count)
                await asyncio.sleep(_SETTLE_SECONDS)
                writes = await self._bench.api.requests_of(WRITES_OF_ROOMS) - written
                counted, own = await self._bench.api.changing() - counted, await operator.changing() - own
            of_rooms = {kind: number for kind, number in counted.items() if kind.split()[1] in OF_ROOMS}
            beyond = [*trail.counted_beyond(of_rooms, _promised(count), own), *seen.beyond(_PROMISED_CHANGES)]
            self._bench.notes[f"operator: {count} rooms"] = beyond
            bulk = Bulk(wall, operator.cpu_seconds - used, writes)
            step.result = bulk.describe(count)
        key = "operator" if count == self._bench.count else "operator_few"
        self._bench.tell(f"{key}_wall_seconds", bulk.wall)
        self._bench.tell(f"{key}_cpu_seconds", bulk.cpu)
        self._bench.tell("writes_per_room", bulk.writes / count)

    async def _idle(self, operator: Operator) -> None:
        seconds = self._bench.options.idle_seconds
        with progress.step(f"operator: {seconds:.0f} s of nothing to do") as step:
            asked, used, began = await self._requests(), operator.cpu_seconds, time.monotonic()
            await asyncio.sleep(seconds)
            lasted = time.monotonic() - began
            self._bench.tell("idle_cpu_percent", 100 * (operator.cpu_seconds - used) / lasted)
            self._bench.tell("idle_requests_per_second", (await self._requests() - asked) / lasted)
            step.result = f"{self._bench.figures['idle_cpu_percent']:.1f} % of a core"

    async def _restarted(self, operator: Operator, written: int) -> None:
        """Measure how long an operator that has just been started takes; `written` are the writes before that."""
        with progress.step("operator: restart") as step:
            seconds = await self._until_reconciled(operator, self._bench.count) - operator.started
            await asyncio.sleep(_SETTLE_SECONDS)
            self._bench.tell("restart_seconds", seconds)
            self._bench.tell("restart_writes", await self._bench.api.requests_of(WRITES_OF_ROOMS, WRITES) - written)
            self._bench.tell("restart_rss_mib", operator.peak_rss_mib)
            step.result = f"{seconds:.1f} s"

    async def _until_reconciled(self, operator: Operator, count: int) -> float:
        """Wait until so many rooms were looked at and none waits; return the moment."""

        async def done() -> float:
            passes, waiting = await operator.reconciled()
            ready = passes >= count and not waiting
            return time.monotonic() if ready else 0.0

        moment: float = await until("the operator to be up to date", done, seconds=180, every=0.1)
        return moment

    async def _requests(self) -> int:
        return await self._bench.api.requests_of(WRITES_OF_ROOMS, WRITES, READS)

    async def _delete(self, operator: Operator, count: int) -> None:
        with progress.step(f"operator: {count} deletions") as step:
            used = operator.cpu_seconds
            wall = await self._bench.delete(rooms.names(count))
            step.result = f"{wall:.1f} s, {operator.cpu_seconds - used:.1f} s of CPU"
        self._bench.tell("delete_seconds", wall)

    async def _renewals(self) -> None:
        """Measure the renewals of tokens that were made together, with all others there."""
        count = self._bench.options.renewals
        # Twenty fall due in a second, as of ten thousand tokens of 83 minutes; those of six hours bring five.
        ttl = max(60, round(count / (20 * RENEWAL_SPREAD)))
        wanted, began = rooms.names(count, "room-brief"), asyncio.Event()
        renewals = Renewals(ttl, [f"{name}-alice" for name in wanted])
        with progress.step(f"operator: {count} renewals of tokens of {ttl} s") as step:
            async with asyncio.timeout(2 * ttl), asyncio.TaskGroup() as tasks:
                tasks.create_task(renewals.watch(self._bench.api, NAMESPACE, began))
                await began.wait()
                await rooms.apply(self._bench.api, NAMESPACE, wanted, self._bench.server_name, ttlSeconds=ttl)
            self._bench.tell("renewed_latest_percent", 100 * max(renewals.lives))
            self._bench.tell("renewals_per_second", renewals.mean_per_second)
            self._bench.tell("renewals_busiest_second", renewals.busiest_second)
            step.result = f"after {100 * min(renewals.lives):.0f} to {100 * max(renewals.lives):.0f} % of their life"


def _promised(count: int) -> dict[str, int]:
    """Return the requests that change something of so many rooms, their own creation included."""
    return {"POST meetingrooms 201": count, "PATCH meetingrooms 200": 2 * count, "POST secrets 201": count}
