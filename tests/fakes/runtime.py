"""The operator without kopf: a Runtime and the watches that kopf would keep for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from livekit_operator.api.kinds import BY_KIND
from livekit_operator.clients.kubernetes import Kubernetes, WatchExpired
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.clients.server_load import ServerLoads
from livekit_operator.clients.worker import Worker
from livekit_operator.metrics import Metrics
from livekit_operator.reconcilers.context import utc_now
from livekit_operator.reconcilers.runtime import Runtime
from livekit_operator.settings import Settings
from tests.fakes.server_load import FakeServerLoads


@asynccontextmanager
async def running(
    kubernetes: Kubernetes,
    worker: Worker,
    connect: Callable[[str, str, str], LiveKit],
    settings: Settings,
    metrics: Metrics | None = None,
    loads: ServerLoads | None = None,
    now: Callable[[], datetime] = utc_now,
) -> AsyncIterator[Runtime]:
    """Run the operator. Fails when a part of it ends by itself."""
    runtime = Runtime(kubernetes, worker, loads or FakeServerLoads(), connect, settings, metrics or Metrics())
    runtime.context.now = now
    versions = {kind: (await kubernetes.list(kind))[1] for kind in BY_KIND}
    await runtime.start()
    watches = [asyncio.create_task(_feed(kubernetes, runtime, kind, versions[kind])) for kind in BY_KIND]
    try:
        yield runtime
        assert runtime.alive, "a part of the operator has ended"
        assert not any(watch.done() for watch in watches), "a watch has ended"
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await runtime.stop()


async def _feed(kubernetes: Kubernetes, runtime: Runtime, kind: str, version: str) -> None:
    while True:
        try:
            async for event in kubernetes.watch(kind, version):
                version = event.object["metadata"]["resourceVersion"]
                if event.type != "BOOKMARK":
                    runtime.observe(kind, event.type, event.object)
        except WatchExpired:
            manifests, version = await kubernetes.list(kind)
            for manifest in manifests:
                runtime.observe(kind, None, manifest)
