"""What one pod uses: at rest, and with calls."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.benchmarks.pools.setting import set_up, warm_pods
from tests.benchmarks.table import Figure, per
from tests.benchmarks.usage import Usage, measure_usage
from tests.caller.call import Call
from tests.caller.microphone import RATE as MICROPHONE_RATE
from tests.harness.agents import agent_pods, status_of
from tests.harness.calls import QUESTION
from tests.harness.kubectl import Kubectl, until
from tests.harness.resources import POOL
from tests.providers.speech import CALLER_VOICE, prepare

_IDLE, _TALKING = 6, 3
_ANSWER_SECONDS = 60.0


@dataclass
class CostFigures:
    """What one pod uses."""

    idle: dict[int, Usage] = field(default_factory=dict)
    """Without calls, by the number of warm processes."""
    talking: Usage | None = None
    """With as many warm processes beside some calls in conversation."""

    def figures(self) -> list[Figure]:
        """Return what is printed."""
        return [
            *self._of("pss_mib", "memory (PSS)", "MiB")[:-2],  # what one more adds is told without others' shares
            *self._of("anonymous_mib", "memory of its own", "MiB"),
            *self._of("cores", "CPU", "cores"),
        ]

    def _of(self, key: str, name: str, unit: str) -> list[Figure]:
        def figure(measured: str, label: str, usage: Usage | None) -> Figure:
            return Figure(f"cost_{measured}_{key}", f"{label}: {name}", getattr(usage, key, ()), unit)

        one = figure("idle_1", "pod at rest, 1 idle process", self.idle.get(1))
        buffer = figure("idle_3", "  3 idle processes, the usual pod of 4 free places", self.idle.get(3))
        many = figure(f"idle_{_IDLE}", f"  {_IDLE} idle processes", self.idle.get(_IDLE))
        talking = figure("talking", f"  {_IDLE} idle processes and {_TALKING} conversations", self.talking)
        process = per(f"cost_process_{key}", f"  what each idle process adds: {name}", many, one, _IDLE - 1)
        session = per(f"cost_session_{key}", f"  what each conversation adds: {name}", talking, many, _TALKING)
        return [one, buffer, many, talking, process, session]


async def measure_cost(kubectl: Kubectl, figures: CostFigures) -> None:
    """Measure one pod with few and with many warm processes, and with some calls that talk all the time."""
    more = 2 * _IDLE  # as many places stay free beside the calls, so that as many processes stay warm
    secrets = await set_up(kubectl, _TALKING, sessionsPerPod=more, idleProcesses=1, replicas=1)
    for processes in (1, 3, _IDLE):
        await _change_processes(kubectl, processes)
        (pod,) = await warm_pods(kubectl, 1, processes)
        figures.idle[processes] = await measure_usage(pod)
    prepare([QUESTION], MICROPHONE_RATE, CALLER_VOICE)  # now, not while three callers wait for it
    calls = [Call(secret, listener=True) for secret in secrets]
    try:
        await asyncio.gather(*(call.join() for call in calls))
        await asyncio.gather(*(call.greeting(60) for call in calls))

        async def busy_and_warm() -> bool:
            status = await status_of(kubectl, pod)
            return bool(status["activeSessions"] == _TALKING and status["warmProcesses"] == _IDLE)

        await until("processes to be warm beside the calls", busy_and_warm)
        async with _talking(calls):
            figures.talking = await measure_usage(pod)
    finally:
        await asyncio.gather(*(call.hang_up() for call in calls))


@asynccontextmanager
async def _talking(calls: Sequence[Call]) -> AsyncIterator[None]:
    """Let everybody ask, be answered and ask again, from the first answers until the block ends."""

    async def talk(call: Call) -> None:
        while True:
            await call.ask(QUESTION, _ANSWER_SECONDS)

    await asyncio.gather(*(call.ask(QUESTION, _ANSWER_SECONDS) for call in calls))
    tasks = [asyncio.create_task(talk(call)) for call in calls]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    if failures := [one for one in ended if isinstance(one, Exception)]:
        raise failures[0]  # who was cancelled went on to the end


async def _change_processes(kubectl: Kubectl, processes: int) -> None:
    """Have other pods with so many idle processes, and wait until none is left of the former ones."""
    patch = f'{{"spec": {{"idleProcesses": {processes}}}}}'
    await kubectl("patch", "voiceagentpool", POOL, "--type", "merge", "--patch", patch)

    async def only_new_ones() -> bool:
        manifest = await kubectl.get("voiceagentpool", POOL)
        status = manifest["status"]
        current = status["observedGeneration"] == manifest["metadata"]["generation"]
        counts = {status.get(name, 0) for name in ("replicas", "readyReplicas", "updatedReplicas")}
        return bool(current and counts == {1} and len(await agent_pods(kubectl)) == 1)

    await until("the pool to be changed", only_new_ones, seconds=120)
