"""The operator as a process beside an API server that takes long to list: it lives, and is ready once it knows all."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from livekit_operator.clients.api_resources import RESOURCES
from tests.cluster.errors import log_tail
from tests.fakes.waiting import eventually, eventually_async
from tests.harness.bound import ENDS_WITH_US
from tests.harness.ports import free_port
from tests.integration.api_proxy import ApiProxy, api_proxy
from tests.integration.chart import of_kind, render
from tests.integration.own_cluster import own_cluster

SLOW = {"/api", RESOURCES["MeetingRoom"].path()}
"""What is not answered: kopf's look at what the API server serves, and the operator's listing of rooms."""
PROBES = 5
"""So often a probe is asked each time: the chart lets three in a row go wrong before the process is ended."""


@dataclass
class Process:
    """The operator's process, run and probed as the chart's Deployment says, on other ports."""

    process: asyncio.subprocess.Process
    container: dict[str, Any]
    ports: dict[str, int]
    log: Path

    async def probe(self, name: str) -> int:
        """Return the status with which a probe is answered in the time that it has, 0 when it is not."""
        assert self.process.returncode is None, f"the operator has ended{log_tail(self.log)}"
        probe = self.container[name]
        url = f"http://127.0.0.1:{self.ports[probe['httpGet']['port']]}{probe['httpGet']['path']}"
        limit = aiohttp.ClientTimeout(total=probe.get("timeoutSeconds", 1))
        try:
            async with aiohttp.request("GET", url, timeout=limit) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    async def until(self, name: str, *, seconds: float) -> None:
        """Wait until a probe is content."""

        async def content() -> bool:
            return await self.probe(name) == 200

        try:
            await eventually_async(content, name, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}{log_tail(self.log)}") from error

    async def lives_unready(self) -> None:
        """Fail when it would be ended, or taken for ready, or not tell that it is not."""
        for _ in range(PROBES):
            assert await self.probe("livenessProbe") == 200
            assert await self.probe("readinessProbe") == 503


@asynccontextmanager
async def process(proxy: ApiProxy, folder: Path) -> AsyncIterator[Process]:
    """Run the operator at the other side of a proxy."""
    [container] = of_kind(render(), "Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {name: free_port() for name in ("http", "liveness")}
    kubeconfig, log = folder / "operator.kubeconfig", folder / "operator.log"
    cluster = {"name": "proxy", "cluster": {"server": proxy.configuration.host}}
    context = {"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}
    names = {"clusters": [cluster], "contexts": [context], "users": [{"name": "nobody", "user": {}}]}
    kubeconfig.write_text(yaml.safe_dump({"current-context": "proxy", **names}))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "KUBECONFIG": str(kubeconfig),
        **{variable["name"]: variable["value"] for variable in container["env"]},
        **{f"LIVEKIT_OPERATOR_{name.upper()}_PORT": str(port) for name, port in ports.items()},
    }
    with log.open("wb") as out:
        started = await asyncio.create_subprocess_exec(
            *ENDS_WITH_US, sys.executable, "-m", "livekit_operator", env=environment, stdout=out, stderr=out
        )
    try:
        yield Process(started, container, ports, log)
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


def is_slow(request: web.BaseRequest) -> bool:
    return request.path in SLOW and "watch" not in request.query


async def test_a_start_that_takes_long_is_lived_through(tmp_path: Path) -> None:
    async with own_cluster(tmp_path) as (_, api), api_proxy(api.configuration) as proxy:
        proxy.hold(is_slow)
        async with process(proxy, tmp_path) as operator:
            startup = operator.container["startupProbe"]
            await operator.until("startupProbe", seconds=startup["periodSeconds"] * startup["failureThreshold"])
            await eventually(lambda: set(proxy.held) == SLOW, "the listings", seconds=30)
            await operator.lives_unready()
            proxy.close()
            await eventually(lambda: set(proxy.refused) >= SLOW, "listings that fail", seconds=30)
            await operator.lives_unready()
            proxy.open()
            await eventually(lambda: set(proxy.held) == SLOW, "the listings again", seconds=30)
            await operator.lives_unready()
            proxy.release()
            await operator.until("readinessProbe", seconds=30)
            assert await operator.probe("livenessProbe") == 200
            operator.process.terminate()
            assert await asyncio.wait_for(operator.process.wait(), 30) == 0
