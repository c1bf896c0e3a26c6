"""How pools answer: warm, from nothing, many calls at once, demand, a lost agent; and what it costs to be ready."""

import asyncio
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.benchmarks.calls import warm_caller
from tests.benchmarks.table import Figure, per, ratio
from tests.benchmarks.usage import Usage, measure_usage
from tests.caller.call import Call, CallError
from tests.caller.microphone import RATE as MICROPHONE_RATE
from tests.cluster import tools
from tests.harness.agents import AGENT, agent_pods, pod_of_call, status_of
from tests.harness.calls import QUESTION, Guest
from tests.harness.kubectl import Kubectl, Manifest, is_ready, until
from tests.harness.processes import sigkill
from tests.harness.resources import POOL, SERVER, quickstart, room
from tests.providers.speech import CALLER_VOICE, prepare

Secrets = list[dict[str, str]]

CALLER = "alice"
WARM_MS, BURST_MS, CREATED_MS = 700.0, 2000.0, 2000.0
BURST = 6
# Little is asked for, so that the scheduler finds a place for every pod on a small machine; nothing limits its use.
_SMALL = {"requests": {"cpu": "100m", "memory": "256Mi"}}
_IDLE, _TALKING = 6, 3
_ANSWER_SECONDS = 60.0


# --- What is set up ---------------------------------------------------------------------------------------------------


async def _set_up(kubectl: Kubectl, rooms: int, **spec: Any) -> Secrets:
    """Apply a server, the quickstart's pool changed at will, and rooms; return the callers' Secrets when all is ready.

    The server is on node ports that the cluster chooses: it runs beside others.
    """
    server, pool, _ = quickstart()
    server["spec"] = {"media": {"exposure": "NodePort"}, "drainTimeoutSeconds": 1}
    pool["spec"] |= spec
    names = [f"call-{number}" for number in range(rooms)]
    await kubectl.apply(server, pool, *(room(name, CALLER, pool=POOL) for name in names))
    for kind, wanted in (("livekitserver", [SERVER]), ("voiceagentpool", [POOL]), ("meetingroom", names)):
        await _ready(kubectl, kind, wanted)
    await warm_caller(kubectl)
    return [await kubectl.secret(f"{name}-{CALLER}") for name in names]


async def _ready(kubectl: Kubectl, kind: str, names: Sequence[str]) -> None:
    async def all_ready() -> bool:
        found = {manifest["metadata"]["name"]: manifest for manifest in await kubectl.find(kind)}
        return all(name in found and is_ready(found[name]) for name in names)

    await until(f"{kind} {', '.join(names)} to be ready", all_ready, seconds=120)


async def _warm_pods(kubectl: Kubectl, count: int, processes: int) -> list[Manifest]:
    """Wait until there are just so many pods, all without calls and with as many warm processes; return them."""

    async def look() -> list[Manifest]:
        pods = await kubectl.find("pods", AGENT)
        if len(pods) != count or not all(_pod_is_ready(pod) for pod in pods):
            return []
        told = [await status_of(kubectl, pod) for pod in pods]
        warm = all(each["activeSessions"] == 0 and each["warmProcesses"] == processes for each in told)
        return pods if warm else []

    async def settled() -> list[Manifest]:
        # No pod is a list like no answer: one of them must be told from the other.
        return [{}] if count == 0 and not await kubectl.find("pods", AGENT) else await look()

    found: list[Manifest] = await until(f"{count} pods with {processes} warm processes", settled, seconds=180)
    return found


def _pod_is_ready(pod: Manifest) -> bool:
    conditions = pod["status"].get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


async def _greeted(secret: dict[str, str], leave: asyncio.Barrier | None = None) -> tuple[float, float]:
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


class _PodWatch:
    """When each agent pod of a namespace was first seen, and first seen ready, in monotonic seconds."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._changed = asyncio.Condition()
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.created: dict[str, float] = {}
        self.ready: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        target = self._kubectl.target
        line = '{.metadata.name}{" "}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}'
        self._process = await asyncio.create_subprocess_exec(
            str(tools.path("kubectl")),
            *("--kubeconfig", str(target.kubeconfig), "--context", target.context),
            *("--namespace", self._kubectl.namespace, "get", "pods", "--selector", AGENT),
            *("--watch", "--output", f"jsonpath={line}"),
            stdin=DEVNULL,
            stdout=PIPE,
        )
        assert self._process.stdout
        self._task = asyncio.create_task(self._read(self._process.stdout))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task
        assert self._process
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def another(self, known: set[str], seconds: float) -> str:
        """Wait for a pod that is none of the known ones; return its name."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: set(self.created) - known)
        return min(set(self.created) - known, key=lambda name: self.created[name])

    async def is_ready(self, name: str, seconds: float) -> None:
        """Wait until a pod was ready."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: name in self.ready)

    async def _read(self, output: asyncio.StreamReader) -> None:
        while line := (await output.readline()).decode().split():
            now = time.monotonic()
            self.created.setdefault(line[0], now)
            if line[1:] == ["True"]:
                self.ready.setdefault(line[0], now)
            async with self._changed:
                self._changed.notify_all()


def _tell(what: str, **values: float) -> None:
    shown = ", ".join(f"{name.replace('_', ' ')} {1000 * value:.0f} ms" for name, value in values.items())
    print(f"{what}: {shown}", file=sys.stderr)


# --- Greetings --------------------------------------------------------------------------------------------------------


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
            Figure("pool_warm_ms", "warm pool: joined -> first sound", _ms(self.warm), target=WARM_MS),
            Figure("pool_warm_first_ms", "  the very first call to the pod", _ms(self.warm[:1]), target=WARM_MS),
        ]

    def zero_figures(self) -> list[Figure]:
        """Return what is printed of the pool at zero, compared with the warm one where that was measured."""
        sounded = Figure("pool_zero_sound_ms", "  joined -> first sound", _ms(self.zero))
        found = [
            Figure("pool_zero_created_ms", "pool at zero: joined -> pod created", _ms(self.created), target=CREATED_MS),
            Figure("pool_zero_ready_ms", "  joined -> pod ready", _ms(self.ready)),
            sounded,
        ]
        if self.warm:
            label = "  first sound from zero, compared with the warm pool"
            found.append(ratio("pool_zero_ratio", label, sounded, self.warm_figures()[0]))
        return found


async def measure_warm(kubectl: Kubectl, figures: GreetingFigures, calls: int) -> None:
    """Greet one caller after the other from one pod of the quickstart's size."""
    (secret,) = await _set_up(kubectl, 1)
    for number in range(calls):
        await _warm_pods(kubectl, 1, 3)
        await _room_is_empty(kubectl, "call-0")
        joined, sounded = await _greeted(secret)
        figures.warm.append(sounded - joined)
        _tell(f"warm call {number + 1} of {calls}", sound=sounded - joined)


async def measure_zero(kubectl: Kubectl, figures: GreetingFigures, times: int) -> None:
    """Wake a pool of the quickstart's size that sleeps, each time with one caller."""
    scaling = {"minReplicas": 0, "maxReplicas": 2, "bufferSessions": 2, "scaleDownStabilizationSeconds": 0}
    (secret,) = await _set_up(kubectl, 1, autoscaling=scaling)
    for number in range(times):
        await _warm_pods(kubectl, 0, 0)
        await _room_is_empty(kubectl, "call-0")
        async with _PodWatch(kubectl) as watch:
            joined, sounded = await _greeted(secret)
            pod = await watch.another(set(), 10)
            await watch.is_ready(pod, 10)
        figures.created.append(watch.created[pod] - joined)
        figures.ready.append(watch.ready[pod] - joined)
        figures.zero.append(sounded - joined)
        _tell(
            f"call to a sleeping pool {number + 1} of {times}",
            created=watch.created[pod] - joined,
            ready=watch.ready[pod] - joined,
            sound=sounded - joined,
        )


async def _room_is_empty(kubectl: Kubectl, name: str) -> None:
    async def empty() -> bool:
        status = (await kubectl.get("meetingroom", name)).get("status") or {}
        return status.get("participants") == 0 and status.get("agentsJoined") == 0

    await until(f"room {name} to be empty", empty)


# --- Many at once -----------------------------------------------------------------------------------------------------


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
        return Figure(f"burst_{pods}_ms", label, _ms(seconds), target=BURST_MS, judged_by_p95=True)


async def measure_burst(kubectl: Kubectl, figures: BurstFigures, pods: int, bursts: int) -> None:
    """Let six call at the same moment, again and again, whenever six places are free and warm."""
    places = BURST // pods
    secrets = await _set_up(kubectl, BURST, sessionsPerPod=places, idleProcesses=places, replicas=pods)
    for number in range(bursts):
        await _warm_pods(kubectl, pods, places)
        for call in range(BURST):
            await _room_is_empty(kubectl, f"call-{call}")
        leave = asyncio.Barrier(BURST)
        heard = await asyncio.gather(*(_greeted(secret, leave) for secret in secrets))
        seconds = [sounded - joined for joined, sounded in heard]
        figures.calls.setdefault(pods, []).extend(seconds)
        _tell(f"burst {number + 1} of {bursts} on {pods} pods", first=min(seconds), last=max(seconds))


# --- Demand -----------------------------------------------------------------------------------------------------------


@dataclass
class DemandFigures:
    """From having joined to another pod being there, in seconds."""

    nobody_free: list[float] = field(default_factory=list)
    buffer_used: list[float] = field(default_factory=list)

    def figures(self) -> list[Figure]:
        """Return what is printed."""
        label = "a call comes: joined -> another pod created"
        return [
            Figure("demand_full_ms", f"{label}, nobody free", _ms(self.nobody_free), target=CREATED_MS),
            Figure("demand_buffer_ms", f"{label}, into the buffer", _ms(self.buffer_used), target=CREATED_MS),
        ]


async def measure_demand(kubectl: Kubectl, figures: DemandFigures, times: int) -> None:
    """Let one call more come than there are places, and then one that takes a place of the buffer."""
    scaling = {"minReplicas": 1, "maxReplicas": 4, "bufferSessions": 0, "scaleDownStabilizationSeconds": 0}
    spec = {"sessionsPerPod": 1, "idleProcesses": 1, "resources": _SMALL, "autoscaling": scaling}
    first, second = await _set_up(kubectl, 2, **spec)
    for number in range(times):
        await _warm_pods(kubectl, 1, 1)
        async with _guest(first) as guest:
            await until("the first caller's agent", lambda: _has_agent(guest))
            # Its call is known before the next one comes: only who finds nobody is demand then.
            await _counted(kubectl, 1)
            figures.nobody_free.append(await _another_pod(kubectl, second))
        _tell(f"nobody free {number + 1} of {times}", created=figures.nobody_free[-1])
    await kubectl("patch", "voiceagentpool", POOL, "--type", "merge", "--patch", _BUFFER_OF_ONE)
    for number in range(times):
        await _warm_pods(kubectl, 1, 1)
        figures.buffer_used.append(await _another_pod(kubectl, first))
        _tell(f"buffer used {number + 1} of {times}", created=figures.buffer_used[-1])


_BUFFER_OF_ONE = '{"spec": {"autoscaling": {"bufferSessions": 1}}}'


async def _another_pod(kubectl: Kubectl, secret: dict[str, str]) -> float:
    """Let somebody come; return how long after having joined another pod was there, in seconds."""
    known = {pod["metadata"]["name"] for pod in await kubectl.find("pods", AGENT)}
    async with _PodWatch(kubectl) as watch:
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


# --- Losses -----------------------------------------------------------------------------------------------------------


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
    (secret,) = await _set_up(kubectl, 1, replicas=pods, idleProcesses=1)
    for number in range(times):
        await _warm_pods(kubectl, pods, 1)
        await _room_is_empty(kubectl, "call-0")
        async with Call(secret, listener=True) as call:
            await call.greeting(60)
            pod = await until("the call's pod", lambda: pod_of_call(kubectl, "call-0"), seconds=10)
            killed = time.monotonic()
            await sigkill(kubectl, pod)
            sounded = await call.sound(killed, 90, "the next agent's greeting")
        figures.lost.setdefault(pods, []).append(sounded - killed)
        _tell(f"lost agent {number + 1} of {times} with {pods} pods", sound=sounded - killed)
        # A container that ends again and again has to wait longer each time: the next loss is a first one as well.
        await kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait")


# --- Costs ------------------------------------------------------------------------------------------------------------


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
    secrets = await _set_up(kubectl, _TALKING, sessionsPerPod=more, idleProcesses=1, replicas=1)
    for processes in (1, 3, _IDLE):
        await _change_processes(kubectl, processes)
        (pod,) = await _warm_pods(kubectl, 1, processes)
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


def _ms(seconds: Sequence[float]) -> list[float]:
    return [1000 * value for value in seconds]
