"""Demand: how soon another pod comes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.benchmarks.pools.greetings import CREATED_MS
from tests.benchmarks.pools.pod_watch import PodWatch
from tests.benchmarks.pools.setting import set_up, warm_pods
from tests.benchmarks.pools.told import in_ms, tell
from tests.benchmarks.table import Figure
from tests.harness.agents import AGENT
from tests.harness.calls import Guest
from tests.harness.kubectl import Kubectl, until
from tests.harness.resources import POOL

# Little is asked for, so that the scheduler finds a place for every pod on a small machine; nothing limits its use.
_SMALL = {"requests": {"cpu": "100m", "memory": "256Mi"}}
_BUFFER_OF_ONE = '{"spec": {"autoscaling": {"bufferSessions": 1}}}'


@dataclass
class DemandFigures:
    """From having joined to another pod being there, in seconds."""

    nobody_free: list[float] = field(default_factory=list)
    buffer_used: list[float] = field(default_factory=list)

    def figures(self) -> list[Figure]:
        """Return what is printed."""
        label = "a call comes: joined -> another pod created"
        return [
            Figure("demand_full_ms", f"{label}, nobody free", in_ms(self.nobody_free), target=CREATED_MS),
            Figure("demand_buffer_ms", f"{label}, into the buffer", in_ms(self.buffer_used), target=CREATED_MS),
        ]


async def measure_demand(kubectl: Kubectl, figures: DemandFigures, times: int) -> None:
    """Let one call more come than there are places, and then one that takes a place of the buffer."""
    scaling = {"minReplicas": 1, "maxReplicas": 4, "bufferSessions": 0, "scaleDownStabilizationSeconds": 0}
    spec = {"sessionsPerPod": 1, "idleProcesses": 1, "resources": _SMALL, "autoscaling": scaling}
    first, second = await set_up(kubectl, 2, **spec)
    for number in range(times):
        await warm_pods(kubectl, 1, 1)
        async with _guest(first) as guest:
            await until("the first caller's agent", lambda: _has_agent(guest))
            # Its call is known before the next one comes: only who finds nobody is demand then.
            await _counted(kubectl, 1)
            figures.nobody_free.append(await _another_pod(kubectl, second))
        tell(f"nobody free {number + 1} of {times}", created=figures.nobody_free[-1])
    await kubectl("patch", "voiceagentpool", POOL, "--type", "merge", "--patch", _BUFFER_OF_ONE)
    for number in range(times):
        await warm_pods(kubectl, 1, 1)
        figures.buffer_used.append(await _another_pod(kubectl, first))
        tell(f"buffer used {number + 1} of {times}", created=figures.buffer_used[-1])


async def _another_pod(kubectl: Kubectl, secret: dict[str, str]) -> float:
    """Let somebody come; return how long after having joined another pod was there, in seconds."""
    known = {pod["metadata"]["name"] for pod in await kubectl.find("pods", AGENT)}
    async with PodWatch(kubectl) as watch:
        await watch.another(set(), 20)  # it watches
        async with _guest(secret) as guest:
            pod = await watch.another(known, 30)
            await watch.is_ready(pod, 120)  # a pod that is stopped while it starts would be in the way of the next time
            assert guest.joined is not None
            return watch.created[pod] - guest.joined


@asynccontextmanager
async def _guest(secret: dict[str, str]) -> AsyncIterator[Guest]:
    guest = Guest(secret, lambda: None)
    await guest.join()
    try:
        yield guest
    finally:
        await guest.leave()


async def _has_agent(guest: Guest) -> bool:
    return bool(guest.agents)


async def _counted(kubectl: Kubectl, sessions: int) -> None:
    async def counted() -> bool:
        status = (await kubectl.get("voiceagentpool", POOL))["status"]
        return bool(status["activeSessions"] == sessions and status["waitingSessions"] == 0)

    await until("the pool to count the call", counted)
