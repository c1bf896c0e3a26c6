"""The operator without kopf, which gives the process."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

from livekit_operator.clients.kubernetes import Kubernetes
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.clients.server_load import ServerLoads
from livekit_operator.clients.worker import Worker
from livekit_operator.metrics import Metrics
from livekit_operator.process.runtime import Runtime
from livekit_operator.process.wiring import TABLE, Row
from livekit_operator.reconciling.context import utc_now
from livekit_operator.settings import Settings
from tests.fakes.doors import FakeDoors
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
    table: Mapping[str, Row] = TABLE,
) -> AsyncIterator[Runtime]:
    """Run the operator. Fails when a part of it ends by itself."""
    loads, metrics = loads or FakeServerLoads(), metrics or Metrics()
    runtime = Runtime(kubernetes, worker, loads, connect, settings, metrics, table=table)
    runtime.context.now = now
    runtime.context.refuses = FakeDoors().refuses
    await runtime.start()
    try:
        yield runtime
        assert runtime.alive, "a part of the operator has ended"
    finally:
        await runtime.stop()
