"""`python -m tests.benchmarks.rooms --rooms N`: MeetingRooms by the thousand, on the local cluster that is up.

The API server and livekit-server are real. The operator is a process in a node's network, so that nothing else of a pod
is counted; an installed one is paused meanwhile. The floor is measured before and after it, with the same rooms, in the
same run.
Prints a table, what held the time, and, last, one line of JSON.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from livekit_operator.constants import GROUP, LABEL_COMPONENT
from livekit_operator.manifests.metadata import COMPONENT_ROOM
from livekit_operator.rooms.manifests.token_secret import RENEWAL_SPREAD
from tests.benchmarks.rooms import profile, rooms
from tests.benchmarks.rooms.api import OF_ROOMS, ROOMS, SECRETS, Api
from tests.benchmarks.rooms.figures import table
from tests.benchmarks.rooms.processes import NODE, READS, WRITES, Floor, Operator, forget, prepare, server_access
from tests.benchmarks.rooms.renewals import Renewals
from tests.cluster import progress
from tests.harness import install
from tests.harness.kubectl import Kubectl, until
from tests.harness.target import Target, find_target

_NAMESPACE = "benchmark-rooms"
# What follows the last room: events of our own writes.
_SETTLE_SECONDS = 2.0
_PAUSE_SECONDS = 0.1
_FEW = 1000
# Key of a figure, of what it compares, and of what with.
RATIOS = (
    ("wall_ratio", "operator_wall_seconds", "floor_wall_seconds"),
    ("wall_scaling", "operator_wall_seconds", "operator_few_wall_seconds"),
    ("cpu_ratio", "operator_cpu_seconds", "floor_cpu_seconds"),
    ("restart_ratio", "restart_seconds", "floor_list_seconds"),
    ("latency_ratio", "latency_p50_ms", "floor_latency_p50_ms"),
    ("delete_ratio", "delete_seconds", "floor_delete_seconds"),
)


@dataclass(frozen=True)
class Bulk:
    """What many rooms cost: seconds from the first request to the last room, CPU seconds, requests that change."""

    wall: float
    cpu: float
    writes: int

    def describe(self, count: int) -> str:
        """Return what so many rooms cost, and what each did."""
        each, writes = 1000 * self.cpu / count, self.writes / count
        return f"{self.wall:.1f} s, {self.cpu:.1f} s of CPU ({each:.2f} ms a room), {writes:.2f} writes a room"


class Benchmark:
    """One run."""

    def __init__(self, target: Target, api: Api, folder: Path, options: argparse.Namespace) -> None:
        self._api = api
        self._kubectl = Kubectl(target, _NAMESPACE)
        self._folder = folder
        self._options = options
        self._count: int = options.rooms
        self._few = min(_FEW, self._count)
        self._server: dict[str, str] = {}
        self._server_name = ""
        self._floor_bulks: list[Bulk] = []
        self.figures: dict[str, float] = {}
        self.phases: list[profile.Phase] = []

    async def run(self) -> None:
        """Measure both: the bare script's creations before and after, as the machine gets faster and slower."""
        if not self._options.operator_only:
            await self._bare_script()
        await self._operator()
        if not self._options.operator_only:
            await self._bare_script_again()
        for key, one, other in RATIOS:
            if one in self.figures and other in self.figures:
                self._tell(key, self.figures[one] / self.figures[other])

    async def _bare_script(self) -> None:
        async with self._operating():
            await self._new_server("first")
        await self._floor_create(self._count)
        await self._floor_latency()
        await self._floor_delete(self._few)
        await self._floor_clear(self._count + self._options.latency_rooms - self._few)

    async def _bare_script_again(self) -> None:
        async with self._operating():
            await self._new_server("third")
        await self._floor_create(self._count)
        await self._floor_clear(self._count)
        async with self._operating():
            await self._delete_server()

    async def _operator(self) -> None:
        async with self._operating() as operator:
            # A new one: the other still has the deletions to tell, which nobody has heard of yet.
            await self._new_server("second")
            if self._count > _FEW and not self._options.operator_only:
                await self._create(operator, _FEW)
                await self._clear()
            await self._create(operator, self._count)
            self._tell("peak_rss_mib", operator.peak_rss_mib)
            await self._idle(operator)
        # Just before the restart, which it is compared with, and of the same objects.
        await self._floor_list()
        written = await self._api.requests_of(WRITES)
        async with self._operating() as operator:
            await self._restarted(operator, written)
            await self._latency("operator")
            await self._delete(operator, self._few)
            if self._options.renewals:
                await self._renewals()
            await self._clear()
            await self._delete_server()

    @asynccontextmanager
    async def _operating(self) -> AsyncIterator[Operator]:
        operator = await Operator.start(self._folder)
        try:
            yield operator
        finally:
            await operator.stop()

    def _floor(self, what: str, count: int) -> AbstractAsyncContextManager[Floor]:
        return Floor.started(what, _NAMESPACE, count, self._server)

    async def _new_server(self, name: str) -> None:
        """Put a server in place of the one before, whose Secrets wait behind thousands for the garbage collector."""
        await self._delete_server()
        self._server_name = name
        await self._kubectl.apply(_server(name))
        self._server = await server_access(self._kubectl, name)

    async def _delete_server(self) -> None:
        name, self._server_name = self._server_name, ""
        if name:
            await self._kubectl("delete", "livekitserver", name, "--wait", "--timeout", "60s")

    async def _floor_create(self, count: int) -> None:
        with progress.step(f"floor: {count} rooms") as step:
            written = await self._api.writes(OF_ROOMS)
            async with self._floor("create", count) as floor, self._profiled(f"bare script: {count}"):
                wall = await self._apply(count)
                cpu = await floor.cpu_seconds()
            bulk = Bulk(wall, cpu, await self._api.writes(OF_ROOMS) - written - count)
            step.result = bulk.describe(count)
        self._floor_bulks.append(bulk)
        walls = [each.wall for each in self._floor_bulks]
        self._tell("floor_wall_seconds", statistics.mean(walls))
        self._tell("floor_cpu_seconds", statistics.mean(each.cpu for each in self._floor_bulks))
        self._tell("floor_wall_spread", max(walls) / min(walls))

    async def _floor_list(self) -> None:
        with progress.step("floor: one listing"):
            began = time.monotonic()
            async with self._floor("list", self._count) as floor:
                await floor.cpu_seconds()
            self._tell("floor_list_seconds", time.monotonic() - began)

    async def _floor_delete(self, count: int) -> None:
        with progress.step(f"floor: {count} deletions") as step:
            async with self._floor("delete", count) as floor:
                wall = await self._delete_few(rooms.names(count))
                cpu = await floor.cpu_seconds()
            step.result = f"{wall:.1f} s, {cpu:.1f} s of CPU"
        self._tell("floor_delete_seconds", wall)

    async def _create(self, operator: Operator, count: int) -> None:
        with progress.step(f"operator: {count} rooms") as step:
            written, used = await self._api.writes(OF_ROOMS), operator.cpu_seconds
            async with self._profiled(f"operator: {count}"):
                wall = await self._apply(count)
            await asyncio.sleep(_SETTLE_SECONDS)
            writes = await self._api.writes(OF_ROOMS) - written - count
            bulk = Bulk(wall, operator.cpu_seconds - used, writes)
            step.result = bulk.describe(count)
        key = "operator" if count == self._count else "operator_few"
        self._tell(f"{key}_wall_seconds", bulk.wall)
        self._tell(f"{key}_cpu_seconds", bulk.cpu)
        self._tell("writes_per_room", bulk.writes / count)

    async def _apply(self, count: int) -> float:
        """Apply so many rooms; return the seconds until all are ready."""
        wanted = rooms.names(count)
        async with rooms.observing(self._api, _NAMESPACE) as observer:
            began = time.monotonic()
            _, last = await asyncio.gather(
                rooms.apply(self._api, _NAMESPACE, wanted, self._server_name),
                observer.until_all(observer.ready, wanted, "ready"),
            )
        return last - began

    async def _idle(self, operator: Operator) -> None:
        seconds = self._options.idle_seconds
        with progress.step(f"operator: {seconds:.0f} s of nothing to do") as step:
            asked, used, began = await self._requests(), operator.cpu_seconds, time.monotonic()
            await asyncio.sleep(seconds)
            lasted = time.monotonic() - began
            self._tell("idle_cpu_percent", 100 * (operator.cpu_seconds - used) / lasted)
            self._tell("idle_requests_per_second", (await self._requests() - asked) / lasted)
            step.result = f"{self.figures['idle_cpu_percent']:.1f} % of a core"

    async def _requests(self) -> int:
        return await self._api.requests_of(WRITES) + await self._api.requests_of(READS)

    async def _restarted(self, operator: Operator, written: int) -> None:
        """Measure how long an operator that has just been started takes; `written` are the writes before that."""
        with progress.step("operator: restart") as step:
            seconds = await self._until_reconciled(operator, self._count) - operator.started
            await asyncio.sleep(_SETTLE_SECONDS)
            self._tell("restart_seconds", seconds)
            self._tell("restart_writes", await self._api.requests_of(WRITES) - written)
            self._tell("restart_rss_mib", operator.peak_rss_mib)
            step.result = f"{seconds:.1f} s"

    async def _until_reconciled(self, operator: Operator, count: int) -> float:
        """Wait until so many rooms were looked at and none waits; return the moment."""

        async def done() -> float:
            passes, waiting = await operator.reconciled()
            ready = passes >= count and not waiting
            return time.monotonic() if ready else 0.0

        moment: float = await until("the operator to be up to date", done, seconds=180, every=0.1)
        return moment

    async def _latency(self, who: str) -> None:
        """Measure one more room at a time, with all others there."""
        count, prefix = self._options.latency_rooms, "" if who == "operator" else f"{who}_"
        wanted = rooms.names(count, "room-one")
        asked: dict[str, float] = {}
        answered: list[float] = []
        with progress.step(f"{who}: {count} rooms, one each {1000 * _PAUSE_SECONDS:.0f} ms") as step:
            whose = "operator" if who == "operator" else "bare script"
            async with (
                self._profiled(f"{whose}: one by one"),
                rooms.observing(self._api, _NAMESPACE) as observer,
            ):
                for name in wanted:
                    asked[name] = time.monotonic()
                    await self._api.post(ROOMS.path(_NAMESPACE), rooms.manifest(_NAMESPACE, name, self._server_name))
                    answered.append(1000 * (time.monotonic() - asked[name]))
                    await asyncio.sleep(max(0.0, asked[name] + _PAUSE_SECONDS - time.monotonic()))
                await observer.until_all(observer.ready, wanted, "ready")
            took = sorted(1000 * (observer.ready[name] - asked[name]) for name in wanted)
            self._tell(f"{prefix}latency_p50_ms", statistics.median(took))
            self._tell(f"{prefix}latency_p95_ms", statistics.quantiles(took, n=20, method="inclusive")[-1])
            self._tell(f"{prefix}request_p50_ms", statistics.median(answered))
            step.result = f"{took[0]:.1f} to {took[-1]:.1f} ms"

    @asynccontextmanager
    async def _profiled(self, name: str) -> AsyncIterator[None]:
        began = await self._moment()
        yield
        self.phases.append(profile.Phase(name, began, await self._moment()))

    async def _moment(self) -> profile.Moment:
        requests = await self._api.durations()
        return profile.Moment(time.monotonic(), profile.programs(), requests)

    async def _renewals(self) -> None:
        """Measure the renewals of tokens that were made together, with all others there."""
        count = self._options.renewals
        # Twenty fall due in a second, as of ten thousand tokens of 83 minutes; those of six hours bring five.
        ttl = max(60, round(count / (20 * RENEWAL_SPREAD)))
        wanted, began = rooms.names(count, "room-brief"), asyncio.Event()
        renewals = Renewals(ttl, [f"{name}-alice" for name in wanted])
        with progress.step(f"operator: {count} renewals of tokens of {ttl} s") as step:
            async with asyncio.timeout(2 * ttl), asyncio.TaskGroup() as tasks:
                tasks.create_task(renewals.watch(self._api, _NAMESPACE, began))
                await began.wait()
                await rooms.apply(self._api, _NAMESPACE, wanted, self._server_name, ttlSeconds=ttl)
            self._tell("renewed_latest_percent", 100 * max(renewals.lives))
            self._tell("renewals_per_second", renewals.mean_per_second)
            self._tell("renewals_busiest_second", renewals.busiest_second)
            step.result = f"after {100 * min(renewals.lives):.0f} to {100 * max(renewals.lives):.0f} % of their life"

    async def _floor_latency(self) -> None:
        async with self._floor("create", self._options.latency_rooms) as floor:
            await self._latency("floor")
            await floor.cpu_seconds()

    async def _delete(self, operator: Operator, count: int) -> None:
        with progress.step(f"operator: {count} deletions") as step:
            used = operator.cpu_seconds
            wall = await self._delete_few(rooms.names(count))
            step.result = f"{wall:.1f} s, {operator.cpu_seconds - used:.1f} s of CPU"
        self._tell("delete_seconds", wall)

    async def _delete_few(self, names: Iterable[str]) -> float:
        unwanted = list(names)
        async with rooms.observing(self._api, _NAMESPACE) as observer:
            began = time.monotonic()
            _, last = await asyncio.gather(
                rooms.delete(self._api, _NAMESPACE, unwanted), observer.until_all(observer.gone, unwanted, "gone")
            )
        return last - began

    async def _floor_clear(self, left: int) -> None:
        async with self._floor("delete", left) as floor:
            await self._clear()
            await floor.cpu_seconds()

    async def _clear(self) -> None:
        """Delete all rooms, and their Secrets, of which the garbage collector takes twenty a second."""
        await self._delete_few(room["metadata"]["name"] for room in await self._api.pages(ROOMS.path(_NAMESPACE)))
        # All in one request would take longer than the API server's minute.
        secrets = f"{SECRETS.path(_NAMESPACE)}?labelSelector={LABEL_COMPONENT}%3D{COMPONENT_ROOM}&limit={_FEW}"
        while (await self._api.get(secrets))["items"]:
            await self._api.delete(secrets)

    def _tell(self, key: str, value: float) -> None:
        self.figures[key] = value


def _server(name: str) -> dict[str, object]:
    """Return a server on the host network of the operator's node."""
    spec = {
        "media": {"exposure": "HostNetwork", "udp": {"portRange": {"start": 50300, "end": 50320}}, "tcpPort": 7981},
        "signal": {"port": 7980},
        "podTemplate": {"nodeSelector": {"kubernetes.io/hostname": NODE.name}},
        "drainTimeoutSeconds": 1,
    }
    metadata = {"name": name}
    return {"apiVersion": ROOMS.api_version, "kind": "LiveKitServer", "metadata": metadata, "spec": spec}


@asynccontextmanager
async def _paused(target: Target) -> AsyncIterator[None]:
    """Keep an installed operator away: it would do everything as well."""
    system = Kubectl(target, install.SYSTEM_NAMESPACE)
    found = [d["metadata"]["name"] for d in await system.find("deployments", "app.kubernetes.io/name=livekit-operator")]
    for name in found:
        await system("scale", f"deployment/{name}", "--replicas=0")
        await system(
            "wait", "--for=delete", "pods", "--selector", "app.kubernetes.io/name=livekit-operator", "--timeout=60s"
        )
    try:
        yield
    finally:
        for name in found:
            await system("scale", f"deployment/{name}", "--replicas=1")


async def _measure(options: argparse.Namespace) -> Benchmark:
    target = find_target()
    if not target.local:
        raise SystemExit("the operator is a process on a node here: only the local cluster will do")
    api = await Api.connect(target)
    kubectl = Kubectl(target, _NAMESPACE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # What a run that failed has left; an installed operator takes its finalizers off.
        await kubectl.delete_namespace()
        async with _paused(target):
            found = await kubectl.find("customresourcedefinitions")
            if not any(crd["spec"]["group"] == GROUP for crd in found):
                # Not over those that are there: the API server would end watches of their resources.
                await kubectl("apply", "--server-side", "--filename", "crds")
            await kubectl.create_namespace()
            await prepare(target, folder)
            benchmark = Benchmark(target, api, folder, options)
            try:
                await benchmark.run()
            finally:
                await api.close()
                await forget(target)
            await kubectl.delete_namespace()
    return benchmark


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rooms", description=__doc__)
    parser.add_argument("--rooms", type=int, default=10000, help="rooms (default 10000)")
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="seconds of nothing to do (default 60)")
    parser.add_argument(
        "--operator-only", action="store_true", help="without the bare script's rooms, in half the time"
    )
    parser.add_argument("--renewals", type=int, default=300, help="tokens made together and renewed (default 300)")
    parser.add_argument("--latency-rooms", type=int, default=100, help="rooms one by one (default 100)")
    measured = asyncio.run(_measure(parser.parse_args()))
    print("\n".join([*table(measured.figures), "", *profile.table(measured.phases)]))
    print(json.dumps({key: round(value, 3) for key, value in measured.figures.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
