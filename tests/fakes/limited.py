"""The operator as a process of its own at an API server that a test plays, to see how much memory it takes.

`python -m tests.fakes.limited URL` prints the port of its HTTP endpoints as JSON, and for each line that it reads what
it has come to.
"""

import asyncio
import gc
import json
import logging
import resource
import sys

import uvloop
from kubernetes.aio.client import Configuration

from livekit_operator.clients.kubernetes import KubernetesClient
from livekit_operator.metrics import Metrics
from livekit_operator.process.runtime import Runtime
from livekit_operator.servers.decisions.key_rotation import ApiKey, KeyState
from livekit_operator.settings import Settings
from livekit_operator.web.server import HttpServer
from tests.fakes import manifests
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.manifests import API_KEY, API_SECRET
from tests.fakes.server_load import FakeServerLoads
from tests.fakes.worker import FakeWorker

MEMORY = 512 * 2**20
SERVER = ("team", "known")


async def _run(url: str) -> None:
    metrics = Metrics()
    kubernetes = KubernetesClient(Configuration(host=url), metrics)
    livekit = FakeLiveKit()
    settings = Settings(agent_image="agent:1")
    runtime = Runtime(kubernetes, FakeWorker(), FakeServerLoads(), livekit.connect, settings, metrics, memory=MEMORY)
    http = HttpServer(runtime, metrics, 0, "127.0.0.1")
    await http.start()
    # It is being deleted and has no finalizer, so no pass does anything for it.
    leaving = {"uid": "known", "resourceVersion": "9999", "deletionTimestamp": "2026-03-01T12:00:00Z"}
    known = manifests.server(SERVER[1], SERVER[0])
    runtime.context.resources["LiveKitServer"].put({**known, "metadata": {**known["metadata"], **leaving}})
    key = ApiKey(API_KEY, API_SECRET)
    runtime.context.key_states[SERVER] = "known", KeyState(in_use=key, accepted=(key,))
    runtime.begin()
    _say(port=http.port)
    while await asyncio.to_thread(sys.stdin.readline):
        _say(
            peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            ready=runtime.ready,
            failed=runtime.failed,
            known={kind: len(cache) for kind, cache in runtime.context.resources.items()},
            children={kind: len(cache) for kind, cache in runtime.context.children.items()},
        )
    await runtime.stop()
    await http.stop()
    await kubernetes.close()


def _say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.basicConfig()
    gc.set_threshold(50_000, 20, 100)  # as __main__ does
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(sys.argv[1]))
