"""kopf's decorators: the process begins, hears of changes, answers probes and ends."""

from typing import Any

import kopf

from livekit_operator.api.kinds import KINDS, Kind
from livekit_operator.clients.kubernetes import KubernetesClient
from livekit_operator.clients.livekit import LiveKitClient
from livekit_operator.clients.worker import WorkerClient
from livekit_operator.constants import GROUP, VERSION
from livekit_operator.handlers.http import HttpServer
from livekit_operator.metrics import Metrics
from livekit_operator.reconcilers.runtime import Runtime
from livekit_operator.settings import load_settings


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Begin to work before the first event arrives."""
    # Events are ours to write, on transitions only; kopf would write one for every log line about an object.
    settings.posting.enabled = False
    operator_settings = load_settings()
    metrics = Metrics()
    memo.kubernetes = await KubernetesClient.from_environment(metrics)
    memo.worker = WorkerClient()
    memo.runtime = Runtime(memo.kubernetes, memo.worker, LiveKitClient, operator_settings, metrics)
    memo.http = HttpServer(memo.runtime, metrics, operator_settings.http_port)
    await memo.http.start()
    await memo.runtime.start()


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """End in the reverse order."""
    await memo.runtime.stop()
    await memo.http.stop()
    await memo.worker.close()
    await memo.kubernetes.close()


@kopf.on.probe(id="running")
async def running(memo: kopf.Memo, **_: Any) -> bool:
    """Fail the liveness probe when a part of the runtime has ended."""
    runtime = memo.get("runtime")
    if runtime is not None and runtime.ready and not runtime.alive:
        raise RuntimeError("a part of the operator has ended")
    return True


def _register(kind: Kind) -> None:
    @kopf.on.event(GROUP, VERSION, kind.plural, id=kind.plural)
    async def changed(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
        """Hand a change over to the queue of its kind."""
        memo.runtime.observe(kind.kind, event["type"], dict(event["object"]))


for _kind in KINDS:
    _register(_kind)
