"""Many calls at once."""

import asyncio
from dataclasses import dataclass, field

from tests.benchmarks.pools.greetings import greeted
from tests.benchmarks.pools.setting import room_is_empty, set_up, warm_pods
from tests.benchmarks.pools.told import in_ms, tell
from tests.benchmarks.table import Figure, ratio
from tests.harness.kubectl import Kubectl

BURST_MS = 2000.0
BURST = 6


@dataclass
class BurstFigures:
    """From having joined to the first sound, in seconds, of all calls of all bursts."""

    calls: dict[int, list[float]] = field(default_factory=dict)
    """By the number of pods that the places are on."""

    def figures(self) -> list[Figure]:
        """Return what is printed."""
        one = self._figure(1, f"{BURST} calls at once, {BURST} places on one pod")
        two = self._figure(2, f"{BURST} calls at once, {BURST // 2} places on each of two pods")
        return [one, two, ratio("burst_ratio", "  one pod compared with two", one, two)]

    def _figure(self, pods: int, label: str) -> Figure:
        seconds = self.calls.get(pods, [])
        label = f"{label}: first sound"
        return Figure(f"burst_{pods}_ms", label, in_ms(seconds), target=BURST_MS, judged_by_p95=True)


async def measure_burst(kubectl: Kubectl, figures: BurstFigures, pods: int, bursts: int) -> None:
    """Let six call at the same moment, again and again, whenever six places are free and warm."""
    places = BURST // pods
    secrets = await set_up(kubectl, BURST, sessionsPerPod=places, idleProcesses=places, replicas=pods)
    for number in range(bursts):
        await warm_pods(kubectl, pods, places)
        for call in range(BURST):
            await room_is_empty(kubectl, f"call-{call}")
        leave = asyncio.Barrier(BURST)
        heard = await asyncio.gather(*(greeted(secret, leave) for secret in secrets))
        seconds = [sounded - joined for joined, sounded in heard]
        figures.calls.setdefault(pods, []).extend(seconds)
        tell(f"burst {number + 1} of {bursts} on {pods} pods", first=min(seconds), last=max(seconds))
