"""What both programs are measured with: rooms that are applied and deleted, the server, and what is found."""

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from livekit_operator.constants import LABEL_COMPONENT
from livekit_operator.manifests.metadata import COMPONENT_ROOM
from tests.benchmarks.rooms import profile, rooms
from tests.benchmarks.rooms.api import ROOMS, SECRETS, Api
from tests.benchmarks.rooms.processes import NODE, Operator, server_access
from tests.cluster import progress
from tests.harness.kubectl import Kubectl
from tests.harness.target import Target

NAMESPACE = "benchmark-rooms"
# What many rooms are compared with, how many are deleted, and the most Secrets that one request deletes.
FEW = 1000
_PAUSE_SECONDS = 0.1


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


class Bench:
    """One run's means, and what it has found so far."""

    def __init__(self, target: Target, api: Api, folder: Path, options: argparse.Namespace) -> None:
        self.api = api
        self._kubectl = Kubectl(target, NAMESPACE)
        self._folder = folder
        self.options = options
        self.count: int = options.rooms
        self.few = min(FEW, self.count)
        self.server: dict[str, str] = {}
        self.server_name = ""
        self.figures: dict[str, float] = {}
        self.phases: list[profile.Phase] = []
        self.notes: dict[str, list[str]] = {}
        """What was done -> the requests beyond what is promised."""

    def tell(self, key: str, value: float) -> None:
        """Keep a figure."""
        self.figures[key] = value

    @asynccontextmanager
    async def operating(self) -> AsyncIterator[Operator]:
        """Have an operator for as long as it takes."""
        operator = await Operator.start(self._folder)
        try:
            yield operator
        finally:
            await operator.stop()

    async def new_server(self, name: str) -> None:
        """Put a server in place of the one before, whose Secrets wait behind thousands for the garbage collector."""
        await self.delete_server()
        self.server_name = name
        await self._kubectl.apply(_server(name))
        self.server = await server_access(self._kubectl, name)

    async def delete_server(self) -> None:
        """Delete the server, if there is one, while an operator is there to let it go."""
        name, self.server_name = self.server_name, ""
        if name:
            await self._kubectl("delete", "livekitserver", name, "--wait", "--timeout", "60s")

    async def create(self, count: int) -> float:
        """Apply so many rooms; return the seconds until all are ready."""
        wanted = rooms.names(count)
        async with rooms.observing(self.api, NAMESPACE) as observer:
            began = time.monotonic()
            _, last = await asyncio.gather(
                rooms.apply(self.api, NAMESPACE, wanted, self.server_name),
                observer.until_all(observer.ready, wanted, "ready"),
            )
        return last - began

    async def delete(self, names: Iterable[str]) -> float:
        """Delete rooms; return the seconds until all are gone."""
        unwanted = list(names)
        async with rooms.observing(self.api, NAMESPACE) as observer:
            began = time.monotonic()
            _, last = await asyncio.gather(
                rooms.delete(self.api, NAMESPACE, unwanted), observer.until_all(observer.gone, unwanted, "gone")
            )
        return last - began

    async def clear(self) -> None:
        """Delete all rooms, and their Secrets, of which the garbage collector takes twenty a second."""
        await self.delete(room["metadata"]["name"] for room in await self.api.pages(ROOMS.path(NAMESPACE)))
        # All in one request would take longer than the API server's minute.
        secrets = f"{SECRETS.path(NAMESPACE)}?labelSelector={LABEL_COMPONENT}%3D{COMPONENT_ROOM}&limit={FEW}"
        while (await self.api.get(secrets))["items"]:
            await self.api.delete(secrets)

    async def latency(self, who: str) -> None:
        """Measure one more room at a time, with all others there."""
        count, prefix = self.options.latency_rooms, "" if who == "operator" else f"{who}_"
        wanted = rooms.names(count, "room-one")
        asked: dict[str, float] = {}
        answered: list[float] = []
        with progress.step(f"{who}: {count} rooms, one each {1000 * _PAUSE_SECONDS:.0f} ms") as step:
            whose = "operator" if who == "operator" else "bare script"
            async with (
                self.profiled(f"{whose}: one by one"),
                rooms.observing(self.api, NAMESPACE) as observer,
            ):
                for name in wanted:
                    asked[name] = time.monotonic()
                    await self.api.post(ROOMS.path(NAMESPACE), rooms.manifest(NAMESPACE, name, self.server_name))
                    answered.append(1000 * (time.monotonic() - asked[name]))
                    await asyncio.sleep(max(0.0, asked[name] + _PAUSE_SECONDS - time.monotonic()))
                await observer.until_all(observer.ready, wanted, "ready")
            took = sorted(1000 * (observer.ready[name] - asked[name]) for name in wanted)
            self.tell(f"{prefix}latency_p50_ms", statistics.median(took))
            self.tell(f"{prefix}latency_p95_ms", statistics.quantiles(took, n=20, method="inclusive")[-1])
            self.tell(f"{prefix}request_p50_ms", statistics.median(answered))
            step.result = f"{took[0]:.1f} to {took[-1]:.1f} ms"

    @asynccontextmanager
    async def profiled(self, name: str) -> AsyncIterator[None]:
        """Keep what holds the time meanwhile as a phase of this name."""
        began = await self._moment()
        yield
        self.phases.append(profile.Phase(name, began, await self._moment()))

    async def _moment(self) -> profile.Moment:
        requests = await self.api.durations()
        return profile.Moment(time.monotonic(), profile.programs(), requests)


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
