"""What goes wrong, and is undone by itself."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.cluster import control_plane, nodes
from tests.cluster.machine import Node
from tests.e2e.conftest import MANAGED, Story
from tests.harness.agents import AGENT
from tests.harness.busy import busy
from tests.harness.kubectl import CommandError, Manifest, run
from tests.harness.operator import kill, running_pod
from tests.harness.processes import sigkill
from tests.harness.redis import Redis
from tests.harness.servers import SERVERS
from tests.harness.slow_link import Weather, connect_seconds, slow_link
from tests.soak.clock import OperatorsClock
from tests.soak.losses import Losses
from tests.soak.plan import Fault, Kind, choose

BAD_WEATHER = Weather(delay=0.3, loss=0.1)
_KUBELET_PORT = 10250


class Faults:
    """Has planned faults happen on the local cluster, and notes whom they kill."""

    def __init__(self, story: Story, redis: Redis, clock: OperatorsClock, losses: Losses) -> None:
        self._story, self._redis, self._clock, self._losses = story, redis, clock, losses

    @asynccontextmanager
    async def happening(self, fault: Fault) -> AsyncIterator[str]:
        """Have a fault happen, for as long as the block lasts; gives to whom. It is undone when that returns."""
        if (lasting := self._lasting(fault)) is None:
            yield await self._strike(fault)
            return
        async with lasting as whom:
            yield whom

    async def _strike(self, fault: Fault) -> str:
        """Do what is done in a moment, and return to whom."""
        match fault.kind:
            case Kind.OPERATOR:
                return await self._kill_operator()
            case Kind.SERVER:
                return await self._kill(SERVERS, fault)
            case Kind.WORKER:
                return await self._kill(AGENT, fault)
            case Kind.API_SERVER:
                await asyncio.to_thread(control_plane.restart_api_server)
            case Kind.REDIS:
                await self._redis.flush()
            case Kind.EVICTION:
                return await self._evict(fault)
            case other:
                raise ValueError(f"nobody knows how to have this happen: {other}")
        return ""

    def _lasting(self, fault: Fault) -> AbstractAsyncContextManager[str] | None:
        """Return what lasts, None for what is done in a moment."""
        match fault.kind:
            case Kind.NODE:
                return self._without_node(fault)
            case Kind.LINK:
                return self._slow_link(fault)
            case Kind.CLOCK:
                return self._clock_moved(fault)
            case Kind.CPU:
                return self._cpu_taken()
        return None

    async def _kill_operator(self) -> str:
        pod = await running_pod(self._story.platform.operator)
        await kill(self._story.platform.operator)
        return str(pod["metadata"]["name"])

    async def _kill(self, selector: str, fault: Fault) -> str:
        pods = {pod["metadata"]["name"]: pod for pod in await self._pods(selector)}
        name = choose(list(pods), fault.chance)
        self._losses.note(fault.kind, [name])
        await sigkill(self._story.kubectl, pods[name])
        return name

    async def _evict(self, fault: Fault) -> str:
        """Evict a pod as `kubectl drain` does; one with calls has a budget that refuses."""
        kubectl = self._story.kubectl
        name = choose([pod["metadata"]["name"] for pod in await self._pods(MANAGED)], fault.chance)
        metadata = {"name": name, "namespace": kubectl.namespace}
        path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{name}/eviction"
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        try:
            await kubectl("create", "--raw", path, "--filename", "-", stdin=json.dumps(eviction))
        except CommandError as error:
            if "disruption budget" not in str(error):
                raise
            return f"{name}, refused by its budget"
        return name

    @asynccontextmanager
    async def _without_node(self, fault: Fault) -> AsyncIterator[str]:
        node = Node.named(choose([node.name for node in nodes.known()], fault.chance))
        pods = await self._story.kubectl.find("pods")
        there = [pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName") == node.name]
        # Clients reach servers by a node's address.
        self._losses.note(fault.kind, [*there, str(node.address)])
        await asyncio.to_thread(nodes.stop, node)
        try:
            yield node.name
        finally:
            await run(sys.executable, "-m", "tests.cluster", "up")  # heals what does not run

    @asynccontextmanager
    async def _slow_link(self, fault: Fault) -> AsyncIterator[str]:
        node = Node.named(choose([node.name for node in nodes.known()], fault.chance))
        async with slow_link(node, BAD_WEATHER, seed=fault.number):
            seconds = await connect_seconds(str(node.address), _KUBELET_PORT)
            assert seconds >= BAD_WEATHER.delay, f"the link of {node.name} is as fast as ever: {seconds:.3f} s"
            yield node.name

    @asynccontextmanager
    async def _clock_moved(self, fault: Fault) -> AsyncIterator[str]:
        self._clock.move(fault.clock_seconds)
        try:
            yield f"by {fault.clock_seconds:+d} s"
        finally:
            self._clock.move(0)

    @asynccontextmanager
    async def _cpu_taken(self) -> AsyncIterator[str]:
        cores = os.cpu_count() or 1
        with busy(cores, niceness=0):
            yield f"{cores} cores"

    async def _pods(self, selector: str) -> list[Manifest]:
        found = await self._story.kubectl.find("pods", selector)
        pods = [pod for pod in found if "deletionTimestamp" not in pod["metadata"] and _runs(pod)]
        assert pods, f"there is no pod that runs with {selector}"
        return pods


def _runs(pod: Manifest) -> bool:
    statuses = pod["status"].get("containerStatuses") or ()
    return bool(statuses) and all("running" in status["state"] for status in statuses)
