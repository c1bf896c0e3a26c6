"""Agents by two witnesses: what their pods say of themselves, and what the LiveKit server says of its rooms."""

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE, Process
from types import TracebackType
from typing import Self

import aiohttp

from tests.cluster import tools
from tests.harness.kubectl import CommandError, Kubectl, Manifest, run
from tests.harness.processes import processes

AGENT = "app.kubernetes.io/component=agent"
STATUS_PORT = 8082
_SECONDS_BETWEEN_LOOKS = 0.3


async def agent_pods(kubectl: Kubectl) -> list[Manifest]:
    """Return the agents' pods of a namespace that are not leaving, by name."""
    pods = await kubectl.find("pods", AGENT)
    staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return sorted(staying, key=lambda pod: str(pod["metadata"]["name"]))


async def status_of(kubectl: Kubectl, pod: Manifest) -> Manifest:
    """Return what an agent's pod says of itself; raises CommandError while it says nothing."""
    # The address of one that has just gone answers nobody, and the API server would wait for half a minute.
    answer: Manifest = json.loads(await kubectl("get", "--raw", _status_path(kubectl, pod), "--request-timeout", "5s"))
    return answer


async def pod_of_call(kubectl: Kubectl, room: str) -> Manifest | None:
    """Return the pod whose agent serves a room, None while there is none."""
    for pod in await kubectl.find("pods", AGENT):
        try:
            status = await status_of(kubectl, pod)
        except CommandError:
            continue  # not started, or gone
        if room in [job["room"] for job in status["jobs"]]:
            return pod
    return None


async def call_processes(pod: Manifest) -> list[int]:
    """Return the pids of a pod of the local cluster that hold calls: those with sockets for media."""
    pids = processes(pod)
    listing = await run("nsenter", f"--net=/proc/{pids[0]}/ns/net", "--", "ss", "-Hnuap")
    return [pid for pid in pids if f"pid={pid}," in listing]


class Occupancy:
    """How many calls the agents' pods of a namespace say they hold, asked all the time.

    `async with Occupancy(kubectl) as occupancy: ...; assert max(occupancy.most.values()) <= 2`
    """

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._proxy: Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None
        self.most: dict[str, int] = {}
        """The most calls of each pod at once."""
        self.looks = 0

    async def __aenter__(self) -> Self:
        target = self._kubectl.target
        # With the credentials of the context, and without a new process for each question.
        self._proxy = await asyncio.create_subprocess_exec(
            str(tools.path("kubectl")),
            *("--kubeconfig", str(target.kubeconfig), "--context", target.context, "proxy", "--port", "0"),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=DEVNULL,
        )
        assert self._proxy.stdout
        address = (await self._proxy.stdout.readline()).decode().split()[-1]
        limits = aiohttp.ClientTimeout(total=5)
        self._session = aiohttp.ClientSession(f"http://{address}", timeout=limits)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task
        assert self._session
        assert self._proxy
        self._task.cancel()
        (ended,) = await asyncio.gather(self._task, return_exceptions=True)
        await self._session.close()
        self._proxy.terminate()
        await self._proxy.wait()
        if error is None and not isinstance(ended, asyncio.CancelledError):
            raise ended or RuntimeError("it no longer looked")

    async def _run(self) -> None:
        assert self._session
        path = f"/api/v1/namespaces/{self._kubectl.namespace}/pods"
        while True:
            try:
                async with self._session.get(path, params={"labelSelector": AGENT}, raise_for_status=True) as answer:
                    pods = (await answer.json())["items"]
            except (TimeoutError, aiohttp.ClientError):
                await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
                continue
            await asyncio.gather(*(self._look(pod) for pod in pods))
            self.looks += 1
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)

    async def _look(self, pod: Manifest) -> None:
        assert self._session
        try:
            async with self._session.get(_status_path(self._kubectl, pod)) as answer:
                if answer.status != 200:
                    return  # it has not begun, or has ended
                status = await answer.json()
        except (TimeoutError, aiohttp.ClientError):
            return
        name = pod["metadata"]["name"]
        self.most[name] = max(self.most.get(name, 0), status["activeSessions"])


def _status_path(kubectl: Kubectl, pod: Manifest) -> str:
    return f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod['metadata']['name']}:{STATUS_PORT}/proxy/status"
