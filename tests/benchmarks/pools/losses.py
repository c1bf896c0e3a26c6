"""Losses: how soon a call whose agent's pod was killed has an agent again."""

import time
from dataclasses import dataclass, field

from tests.benchmarks.pools.setting import room_is_empty, set_up, warm_pods
from tests.benchmarks.pools.told import tell
from tests.benchmarks.table import Figure, ratio
from tests.caller.call import Call
from tests.harness.agents import pod_of_call
from tests.harness.kubectl import Kubectl, until
from tests.harness.processes import sigkill


@dataclass
class LossFigures:
    """From the death of all processes of a call's pod to the first sound of the next agent, in seconds."""

    lost: dict[int, list[float]] = field(default_factory=dict)
    """By the number of pods that there are."""

    def figures(self) -> list[Figure]:
        """Return what is printed."""
        label = "a call's pod is killed -> new agent speaks"
        warm = Figure("lost_2_s", f"{label}, another pod is warm", self.lost.get(2, []), "s")
        alone = Figure("lost_1_s", f"{label}, no other pod", self.lost.get(1, []), "s")
        return [warm, alone, ratio("lost_ratio", "  without another pod, compared with one", alone, warm)]


async def measure_loss(kubectl: Kubectl, figures: LossFigures, pods: int, times: int) -> None:
    """Kill the pod of a call that was greeted, and wait for the next agent's greeting."""
    (secret,) = await set_up(kubectl, 1, replicas=pods, idleProcesses=1)
    for number in range(times):
        await warm_pods(kubectl, pods, 1)
        await room_is_empty(kubectl, "call-0")
        async with Call(secret, listener=True) as call:
            await call.greeting(60)
            pod = await until("the call's pod", lambda: pod_of_call(kubectl, "call-0"), seconds=10)
            killed = time.monotonic()
            await sigkill(kubectl, pod)
            sounded = await call.sound(killed, 90, "the next agent's greeting")
        figures.lost.setdefault(pods, []).append(sounded - killed)
        tell(f"lost agent {number + 1} of {times} with {pods} pods", sound=sounded - killed)
        # A container that ends again and again has to wait longer each time: the next loss is a first one as well.
        await kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait")
