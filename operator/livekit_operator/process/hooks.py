"""kopf's decorators: the process begins, answers probes and ends."""

import contextlib
import itertools
from typing import Any

import kopf

from livekit_operator.clients.kubernetes import KubernetesClient
from livekit_operator.clients.livekit import LiveKitClient
from livekit_operator.clients.server_load import ServerLoadClient
from livekit_operator.clients.worker import WorkerClient
from livekit_operator.metrics import Metrics
from livekit_operator.process.runtime import Runtime
from livekit_operator.settings import load_settings

_RETRY_SECONDS = 2.0


def configure(settings: kopf.OperatorSettings) -> None:
    """Have kopf run the process, and nothing else."""
    # Events are ours to write, on transitions only; kopf would write one for every log line about an object.
    settings.posting.enabled = False
    # The watches are the runtime's: kopf need not know which kinds the cluster serves.
    settings.scanning.disabled = True
    # kopf looks once at what the API server serves, and would end the process when that fails nine times.
    settings.networking.error_backoffs = itertools.repeat(_RETRY_SECONDS)


@kopf.on.startup(backoff=1.0)
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Begin to work; what fails leaves nothing open for the next try.

    kopf answers the liveness probe only when this is over, so nothing here waits for the API server.
    """
    configure(settings)
    operator_settings = load_settings()
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as opened:
        kubernetes = await KubernetesClient.from_environment(metrics)
        opened.push_async_callback(kubernetes.close)
        worker = WorkerClient()
        opened.push_async_callback(worker.close)
        loads = ServerLoadClient()
        opened.push_async_callback(loads.close)
        runtime = Runtime(kubernetes, worker, loads, LiveKitClient, operator_settings, metrics)
        opened.push_async_callback(runtime.stop)
        await runtime.web.start()
        runtime.begin()
        memo.runtime, memo.opened = runtime, opened.pop_all()


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """End in the reverse order."""
    if "opened" in memo:
        await memo.opened.aclose()


@kopf.on.probe(id="running")
async def running(memo: kopf.Memo, **_: Any) -> bool:
    """Fail the liveness probe when a part of the runtime has ended."""
    runtime = memo.get("runtime")
    if runtime is not None and runtime.failed:
        raise kopf.PermanentError("a part of the operator has ended")
    return True
