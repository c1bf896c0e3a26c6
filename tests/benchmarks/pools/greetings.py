"""Greetings: of a warm pool, and of one that sleeps."""

import asyncio
import sys
import time
from dataclasses import dataclass, field

from tests.benchmarks.pools.pod_watch import PodWatch
from tests.benchmarks.pools.setting import room_is_empty, set_up, warm_pods
from tests.benchmarks.pools.told import in_ms, tell
from tests.benchmarks.table import Figure, ratio
from tests.caller.call import Call, CallError
from tests.harness.kubectl import Kubectl

WARM_MS, CREATED_MS = 700.0, 2000.0


@dataclass
class GreetingFigures:
    """From having joined, in seconds."""

    warm: list[float] = field(default_factory=list)
    """To the first sound, the very first call to the pod included."""
    created: list[float] = field(default_factory=list)
    """With the pool at zero: to the pod being there."""
    ready: list[float] = field(default_factory=list)
    zero: list[float] = field(default_factory=list)

    def warm_figures(self) -> list[Figure]:
        """Return what is printed of the warm pool."""
        return [
            Figure("pool_warm_ms", "warm pool: joined -> first sound", in_ms(self.warm), target=WARM_MS),
            Figure("pool_warm_first_ms", "  the very first call to the pod", in_ms(self.warm[:1]), target=WARM_MS),
        ]

    def zero_figures(self) -> list[Figure]:
        """Return what is printed of the pool at zero, compared with the warm one where that was measured."""
        sounded = Figure("pool_zero_sound_ms", "  joined -> first sound", in_ms(self.zero))
        found = [
            Figure(
                "pool_zero_created_ms", "pool at zero: joined -> pod created", in_ms(self.created), target=CREATED_MS
            ),
            Figure("pool_zero_ready_ms", "  joined -> pod ready", in_ms(self.ready)),
            sounded,
        ]
        if self.warm:
            label = "  first sound from zero, compared with the warm pool"
            found.append(ratio("pool_zero_ratio", label, sounded, self.warm_figures()[0]))
        return found


async def measure_warm(kubectl: Kubectl, figures: GreetingFigures, calls: int) -> None:
    """Greet one caller after the other from one pod of the quickstart's size."""
    (secret,) = await set_up(kubectl, 1)
    for number in range(calls):
        await warm_pods(kubectl, 1, 3)
        await room_is_empty(kubectl, "call-0")
        joined, sounded = await greeted(secret)
        figures.warm.append(sounded - joined)
        tell(f"warm call {number + 1} of {calls}", sound=sounded - joined)


async def measure_zero(kubectl: Kubectl, figures: GreetingFigures, times: int) -> None:
    """Wake a pool of the quickstart's size that sleeps, each time with one caller."""
    scaling = {"minReplicas": 0, "maxReplicas": 2, "bufferSessions": 2, "scaleDownStabilizationSeconds": 0}
    (secret,) = await set_up(kubectl, 1, autoscaling=scaling)
    for number in range(times):
        await warm_pods(kubectl, 0, 0)
        await room_is_empty(kubectl, "call-0")
        async with PodWatch(kubectl) as watch:
            joined, sounded = await greeted(secret)
            pod = await watch.another(set(), 10)
            await watch.is_ready(pod, 10)
        figures.created.append(watch.created[pod] - joined)
        figures.ready.append(watch.ready[pod] - joined)
        figures.zero.append(sounded - joined)
        tell(
            f"call to a sleeping pool {number + 1} of {times}",
            created=watch.created[pod] - joined,
            ready=watch.ready[pod] - joined,
            sound=sounded - joined,
        )


async def greeted(secret: dict[str, str], leave: asyncio.Barrier | None = None) -> tuple[float, float]:
    """Join, listen for the first sound and leave; return when both were, in monotonic seconds.

    With a barrier everybody stays until the last one was greeted, as people would.
    """
    async with Call(secret, listener=True) as call:
        joined = time.monotonic()
        try:
            sounded = await call.sound(joined, 90, "the first sound of the greeting")
        except CallError as error:
            print(error.report.to_text() if error.report else error, file=sys.stderr)
            raise
        if leave is not None:
            await leave.wait()
    return joined, sounded
