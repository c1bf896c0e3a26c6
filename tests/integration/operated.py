"""The operator run in this process against a real API server, confined to one namespace.

LiveKit and the agent pods are stand-ins, and so is the kubelet: pods name a scheduler that does not exist, and tests
say what becomes of them. Everything else is real: server-side apply, garbage collection, the Deployment's controller.
"""

import copy
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from livekit_operator.clients.api_resources import Manifest
from livekit_operator.clients.kubernetes import KubernetesClient, Page, WatchEvent
from livekit_operator.constants import LABEL_COMPONENT
from livekit_operator.errors import Conflict
from livekit_operator.manifests.metadata import COMPONENT_AGENT, COMPONENT_SERVER, COMPONENT_SERVER_CHECK
from livekit_operator.metrics import Metrics
from livekit_operator.process.runtime import Runtime
from livekit_operator.reconciling.context import utc_now
from livekit_operator.servers.manifests.pod import CONTAINER
from livekit_operator.settings import Settings
from livekit_operator.views import ServerLoad, WorkerStatus
from tests.fakes import manifests
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.runtime import running
from tests.fakes.server_load import FakeServerLoads
from tests.fakes.waiting import eventually_async
from tests.fakes.worker import FakeWorker
from tests.harness.api import Api, operator_client
from tests.harness.invariants import OWN_KINDS, violations

SECONDS = 30.0
_SCHEDULER = {"schedulerName": "nobody"}


class Confined(KubernetesClient):
    """The operator's client; sees one namespace, keeps pods from real nodes and notes every write.

    It may see `others` as well; what is written there has `strayed`.
    """

    namespace = ""
    others: frozenset[str] = frozenset()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.writes: list[str] = []
        self.strayed: list[str] = []
        self.violations: list[str] = []
        """What statuses that were written say against themselves."""

    async def pages(self, kind: str, selector: str | None = None) -> AsyncIterator[Page]:
        """Yield the objects of the namespace; asks for those of all, as the operator does."""
        async for page in super().pages(kind, selector):
            yield replace(page, items=[m for m in page.items if self._sees(m)])

    async def watch(self, kind: str, resource_version: str, selector: str | None = None) -> AsyncIterator[WatchEvent]:
        """Yield the changes in the namespace."""
        async for event in super().watch(kind, resource_version, selector):
            if event.type == "BOOKMARK" or self._sees(event.object):
                yield event

    def _sees(self, manifest: Manifest) -> bool:
        namespace = manifest["metadata"].get("namespace", self.namespace)
        return bool(namespace == self.namespace or namespace in self.others)

    def _note(self, write: str, namespace: str) -> None:
        self.writes.append(write)
        if namespace != self.namespace:
            self.strayed.append(f"{write} in {namespace}")

    @contextmanager
    def _noted(self, write: str, namespace: str) -> Iterator[None]:
        """Note a write, but one that came too late: it changed nothing, and is decided anew."""
        self._note(write, namespace)
        try:
            yield
        except Conflict:
            self.writes.remove(write)
            raise

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; a pod that no scheduler will find."""
        if manifest["kind"] == "Pod":
            manifest = {**manifest, "spec": {**manifest["spec"], **_SCHEDULER}}
        metadata = manifest["metadata"]
        self._note(f"create {manifest['kind']}/{metadata.get('name', '')}", metadata["namespace"])
        return await super().create(manifest)

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply an object; a Deployment whose pods no scheduler will find."""
        if manifest["kind"] == "Deployment":
            manifest = copy.deepcopy(manifest)
            manifest["spec"]["template"]["spec"] |= _SCHEDULER
        metadata = manifest["metadata"]
        with self._noted(f"apply {manifest['kind']}/{metadata['name']}", metadata["namespace"]):
            return await super().apply(manifest)

    async def merge(
        self, kind: str, namespace: str, name: str, patch: Manifest, subresource: str | None = None
    ) -> Manifest:
        """Merge-patch an object."""
        with self._noted(f"merge {kind}/{name}" + (f"/{subresource}" if subresource else ""), namespace):
            written = await super().merge(kind, namespace, name, patch, subresource)
        if kind in OWN_KINDS:
            self.violations += violations(kind, written)
        return written

    async def delete(
        self, kind: str, namespace: str, name: str, uid: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """Delete an object."""
        self._note(f"delete {kind}/{name}", namespace)
        await super().delete(kind, namespace, name, uid, grace_seconds)

    async def log(
        self, namespace: str, pod: str, container: str, *, previous: bool = False, since_seconds: int | None = None
    ) -> str:
        """Return what livekit-server prints when it takes a configuration: no kubelet runs the pod."""
        return (
            "TCP Ports"
            if (namespace, container, previous, since_seconds) == (self.namespace, CONTAINER, False, None)
            else pod
        )


@dataclass
class Operated:
    """A namespace with an operator, an administrator, a LiveKit server and a kubelet."""

    api: Api
    namespace: str
    kubernetes: Confined
    runtime: Runtime
    livekit: FakeLiveKit
    worker: FakeWorker
    metrics: Metrics = field(default_factory=Metrics)
    addresses: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object in the namespace as a user does."""
        return await self.api.create({**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}})

    async def patch(self, kind: str, name: str, patch: Any, subresource: str | None = None) -> Manifest:
        """Merge-patch an object as a user does."""
        return await self.api.patch(kind, self.namespace, name, patch, subresource)

    async def find(self, kind: str, name: str) -> Manifest | None:
        """Return an object, or None."""
        return await self.api.get(kind, self.namespace, name)

    async def get(self, kind: str, name: str) -> Manifest:
        """Return an object; waits until it is there."""
        await self.until(f"{kind}/{name}", lambda: self.find(kind, name))
        found = await self.find(kind, name)
        assert found is not None
        return found

    async def until(self, what: str, condition: Any, *, seconds: float = SECONDS) -> None:
        """Wait for a condition that must be asked for."""
        await eventually_async(condition, what, seconds=seconds)

    async def reason(self, kind: str, name: str, reason: str = "Ready", *, seconds: float = SECONDS) -> str:
        """Wait until a resource says this of its current spec; return the message."""
        message = ""

        async def says_so() -> bool:
            nonlocal message
            manifest = await self.find(kind, name)
            status = (manifest or {}).get("status") or {}
            for condition in status.get("conditions") or ():
                if condition["type"] == "Ready" and condition["reason"] == reason:
                    message = condition["message"]
                    return bool(status["observedGeneration"] == (manifest or {})["metadata"]["generation"])
            return False

        await self.until(f"{kind}/{name} to say {reason}", says_so, seconds=seconds)
        return message

    async def gone(self, kind: str, name: str) -> None:
        """Wait until an object is gone."""

        async def is_gone() -> bool:
            return await self.find(kind, name) is None

        await self.until(f"{kind}/{name} to go", is_gone, seconds=60)

    async def run_pods(self, component: str = COMPONENT_AGENT) -> int:
        """Do what the kubelet does with the pods of a component: make them ready; return how many they are."""
        every = await self.api.list("Pod", self.namespace)
        pods = [pod for pod in every if (pod["metadata"]["labels"] or {}).get(LABEL_COMPONENT) == component]
        for pod in pods:
            if not pod["status"].get("podIP"):
                await self.run_pod(pod, f"192.0.2.{next(self.addresses)}")
        return len(pods)

    async def pass_checks(self) -> None:
        """Let the pods that check a server's new configuration end."""
        for pod in await self.api.list("Pod", self.namespace):
            if (pod["metadata"]["labels"] or {}).get(LABEL_COMPONENT) == COMPONENT_SERVER_CHECK:
                name = pod["metadata"]["name"]
                await self.api.try_patch("Pod", self.namespace, name, {"status": {"phase": "Succeeded"}}, "status")

    async def run_pod(self, pod: Manifest, address: str) -> None:
        """Make a pod ready."""
        conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T12:00:00Z"}]
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "hostIP": "198.51.100.7",
            "hostIPs": [{"ip": "198.51.100.7"}],
            "conditions": conditions,
        }
        self.worker.answers[address] = WorkerStatus(True, 0)
        name = pod["metadata"]["name"]
        answer = await self.api.try_patch("Pod", self.namespace, name, {"status": status}, "status")
        if answer.status != 404:  # a pod too many may have gone since it was listed
            answer.accepted()

    async def with_server(self, **spec: Any) -> None:
        """Create a LiveKitServer and let it answer."""
        await self.create(manifests.server(**spec))
        await self.server_runs()
        await self.reason("LiveKitServer", "voice")

    async def server_runs(self) -> None:
        """Let the server's pods be ready once the operator has made them."""

        async def made() -> bool:
            return await self.run_pods(COMPONENT_SERVER) > 0

        await self.until("the server's pod", made)

    async def with_pool(self, **spec: Any) -> None:
        """Create a VoiceAgentPool and let its pods be warm."""
        await self.create(manifests.providers_secret())
        await self.create(manifests.pool(**spec))

        async def warm() -> bool:
            await self.run_pods()
            pool = await self.get("VoiceAgentPool", "front-desk")
            status = pool.get("status") or {}
            return bool(status.get("readyReplicas")) and status["readyReplicas"] == status["desiredReplicas"]

        await self.until("warm pods", warm)
        await self.reason("VoiceAgentPool", "front-desk")


@asynccontextmanager
async def operated(
    api: Api,
    namespace: str,
    livekit: FakeLiveKit | None = None,
    token: str | None = None,
    now: Callable[[], datetime] = utc_now,
    others: frozenset[str] = frozenset(),
    **settings: Any,
) -> AsyncIterator[Operated]:
    """Run the operator for a namespace, as the administrator or with a ServiceAccount's token."""
    metrics = Metrics()
    kubernetes = await operator_client(api.configuration, metrics, token, Confined)
    assert isinstance(kubernetes, Confined)
    kubernetes.namespace, kubernetes.others = namespace, others
    server, worker = livekit or FakeLiveKit(), FakeWorker()
    values = {"agent_image": "agent:1", "server_poll_seconds": 1.0, "pool_poll_seconds": 0.5, **settings}
    try:
        loads = FakeServerLoads(ServerLoad(0, 0))
        async with running(kubernetes, worker, server.connect, Settings(**values), metrics, loads, now) as runtime:
            yield Operated(api, namespace, kubernetes, runtime, server, worker, metrics)
        assert not kubernetes.violations, "\n".join(kubernetes.violations)
    finally:
        await kubernetes.close()
