"""What polling many agent pods costs the operator, without a cluster.

`python -m tests.benchmarks.polling` is the operator: its real passes, queues and client of pods, with an API server and
a LiveKit server in memory. The pods' status pages are in another process, and so is whoever asks for the figures: the
CPU that is counted is the operator's alone.
"""

import argparse
import asyncio
import json
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from livekit_operator.clients.worker import WorkerClient
from livekit_operator.metrics import Metrics
from livekit_operator.settings import Settings
from livekit_operator.views import WorkerStatus
from tests.benchmarks.status_pages import address_of
from tests.benchmarks.table import Figure
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.runtime import running
from tests.fakes.waiting import eventually_async
from tests.fakes.world import World

PODS, CALLS = 500, 2
POOLS = (1, 50)
_WINDOWS, _WINDOW_SECONDS = 5, 10.0
_START_SECONDS = 60.0
_MOST_CPU = 0.3


@dataclass(frozen=True)
class Polling:
    """What one operator was measured to do."""

    pools: int
    cpu: list[float]
    """CPU seconds per second, in each window of time."""
    pass_ms: list[float]
    """Mean time of a pool's pass, in each window."""
    asked_per_second: list[float]
    """Pods asked, in each window; all answered."""

    @property
    def question_ms(self) -> list[float]:
        """Return the CPU time for each pod asked, in milliseconds, in each window."""
        return [1000 * cpu / asked for cpu, asked in zip(self.cpu, self.asked_per_second, strict=True)]


async def measure_polling() -> list[Polling]:
    """Measure the same pods in one pool and in many, each by an operator of its own."""
    found = []
    for pools in POOLS:
        words = ("-m", __name__, "--pools", str(pools))
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=DEVNULL, stdout=PIPE)
        out, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"the operator of {pools} pools ended with exit code {process.returncode}")
        found.append(Polling(**json.loads(out)))
    return found


def figures(found: Sequence[Polling]) -> list[Figure]:
    """Return what is printed."""
    rows = []
    for one in found:
        key, where = f"polling_{one.pools}", f"{PODS} pods in {one.pools} pool{'s' if one.pools > 1 else ''}"
        rows += [
            Figure(f"{key}_cpu", f"operator that polls {where}: CPU", one.cpu, "cores", target=_MOST_CPU),
            Figure(f"{key}_question", "  CPU for each pod asked", one.question_ms, "ms CPU"),
            Figure(f"{key}_pass", "  time of a pool's pass", one.pass_ms),
            Figure(f"{key}_asked", "  pods asked per second, all of which answer", one.asked_per_second, "per s"),
        ]
    return rows


class _CountingWorker(WorkerClient):
    """The operator's own client, and how often it asked and got no answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = self.unanswered = 0

    async def status(self, address: str, namespace: str = "") -> WorkerStatus | None:
        """Return what the pod says."""
        self.asked += 1
        status = await super().status(address, namespace)
        self.unanswered += status is None
        return status


async def operate(pods: int, pools: int) -> Polling:
    """Be an operator with so many pods, and measure when all of them are polled."""
    world, worker, metrics = World(), _CountingWorker(), Metrics()
    world.clock.now = datetime.now(UTC)
    world.kubernetes.put(manifests.providers_secret())
    async with (
        _status_pages(pods),
        _closing(worker),
        running(world.kubernetes, worker, world.livekit.connect, Settings(agent_image="agent:1"), metrics),
    ):
        world.kubernetes.put(manifests.server())
        await _until("a server's pod", lambda: len(world.server_pods()) == 1)
        world.run_server()
        for number in range(pools):
            world.kubernetes.put(manifests.pool(f"pool-{number}", replicas=pods // pools))
        await _until("all pods", lambda: len(world.agent_pods()) == pods)
        _run(world)
        await _until("all calls to be seen", lambda: _active(world) == pods * CALLS)
        world.kubernetes.forget_writes()
        worker.unanswered = 0
        measured = [await _window(worker, metrics) for _ in range(_WINDOWS)]
        if worker.unanswered or world.kubernetes.writes:
            raise RuntimeError(
                f"{worker.unanswered} questions without an answer, {len(world.kubernetes.writes)} writes"
            )
    cpu, pass_ms, asked = (list(values) for values in zip(*measured, strict=True))
    return Polling(pools, cpu, pass_ms, asked)


async def _until(what: str, condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    # Looking takes the CPU that the operator needs to begin.
    await eventually_async(holds, what, seconds=_START_SECONDS, pause=0.5)


def _run(world: World) -> None:
    """Let all pods run, each with the address of a status page."""
    for number, pod in enumerate(world.agent_pods()):
        container = {"name": "agent", "containerID": f"c{number}", "restartCount": 0, "state": {"running": {}}}
        status = {
            "phase": "Running",
            "podIP": address_of(number),
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [container],
        }
        world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], status, status=True)


def _active(world: World) -> int:
    """Return the calls that all pools say they have."""
    names = world.kubernetes.names("VoiceAgentPool")
    return sum(world.get("VoiceAgentPool", name)["status"].get("activeSessions", 0) for name in names)


async def _window(worker: _CountingWorker, metrics: Metrics) -> tuple[float, float, float]:
    """Return CPU seconds per second, the mean time of a pass in milliseconds, and pods asked per second."""
    began, used, asked, (seconds, passes) = time.monotonic(), time.process_time(), worker.asked, _passes(metrics)
    await asyncio.sleep(_WINDOW_SECONDS)
    lasted, (seconds_then, passes_then) = time.monotonic() - began, _passes(metrics)
    pass_ms = 1000 * (seconds_then - seconds) / (passes_then - passes)
    return (time.process_time() - used) / lasted, pass_ms, (worker.asked - asked) / lasted


def _passes(metrics: Metrics) -> tuple[float, float]:
    """Return the seconds that all passes of pools took, and their number."""
    name, labels = "livekit_operator_reconcile_duration_seconds", {"kind": "VoiceAgentPool"}
    value = metrics.registry.get_sample_value
    return value(f"{name}_sum", labels) or 0.0, value(f"{name}_count", labels) or 0.0


@asynccontextmanager
async def _closing(worker: WorkerClient) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await worker.close()


@asynccontextmanager
async def _status_pages(pods: int) -> AsyncIterator[Process]:
    """Run the pods' side in another process."""
    words = ("-m", "tests.benchmarks.status_pages", str(pods), str(CALLS))
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=PIPE)
    assert process.stdout
    try:
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError("the status pages did not start")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def main() -> None:
    """Measure one operator and print it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.polling", description=__doc__)
    parser.add_argument("--pods", type=int, default=PODS)
    parser.add_argument("--pools", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(asdict(asyncio.run(operate(options.pods, options.pools)))))


if __name__ == "__main__":
    main()
