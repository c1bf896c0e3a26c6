"""A whole cluster in memory with the operator's reconcilers on top, run pass by pass at a test's own pace."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from livekit_operator.clients.kubernetes import WatchEvent
from livekit_operator.constants import LABEL_COMPONENT, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY
from livekit_operator.engine.cache import Key, ObjectCache, key_of
from livekit_operator.manifests.metadata import COMPONENT_AGENT, COMPONENT_SERVER
from livekit_operator.metrics import Metrics
from livekit_operator.process.wiring import TABLE, Row, child_kinds, make_metrics, resource_kinds, run_pass, take_in
from livekit_operator.rooms.context import Context
from livekit_operator.servers.apply import WITHDRAWAL_SECONDS
from livekit_operator.servers.links import UNDECLARED_ROOM
from livekit_operator.settings import Settings
from livekit_operator.views import ProviderError, WorkerJob, WorkerStatus
from tests.fakes import manifests
from tests.fakes.clock import Clock
from tests.fakes.doors import FakeDoors
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.server_load import FakeServerLoads
from tests.fakes.worker import FakeWorker
from tests.harness.invariants import OWN_KINDS, all_violations, violations

_MOST_ROUNDS = 10


class World:
    """Caches follow the fake API server at once, as a perfect watch would let them."""

    def __init__(self, settings: Settings | None = None, table: Mapping[str, Row] = TABLE) -> None:
        self.table = table
        self.clock = Clock()
        self.kubernetes = FakeKubernetes(self.clock)
        self.livekit = FakeLiveKit(self.clock)
        self.worker = FakeWorker()
        self.loads = FakeServerLoads()
        self.doors = FakeDoors()
        self.woken: set[tuple[str, Key]] = set()
        self._gone: list[tuple[str, Key]] = []
        self.context = Context(
            self.kubernetes,
            self.worker,
            self.loads,
            self.livekit.connect,
            settings or Settings(agent_image="agent:1", webhook_url="http://operator:8080"),
            Metrics(),
            lambda kind, key: self.woken.add((kind, key)),
            now=self.clock,
            refuses=self.doors.refuses,
            resources={kind: ObjectCache(partial(self._changed, kind)) for kind in resource_kinds(table)},
            children={kind: ObjectCache() for kind in child_kinds(table)},
        )
        make_metrics(table, self.context.metrics)
        self.kubernetes.listeners.append(self._follow)
        self._pods = 0
        self._node_ports = 0

    # Passes.

    async def reconcile(self, kind: str, name: str, namespace: str = NAMESPACE) -> float | None:
        """Run one pass of one object; return when it wants to be looked at again."""
        self.woken.discard((kind, (namespace, name)))
        try:
            return await run_pass(self.context, self.table[kind], (namespace, name))
        finally:
            self._check(kind, namespace, name)

    def _check(self, kind: str, namespace: str, name: str) -> None:
        """Fail when the status that a pass has left contradicts itself, unless others change what is written."""
        if self.kubernetes.policies or kind not in OWN_KINDS:
            return
        manifest = self.kubernetes.peek(kind, namespace, name)
        found = violations(kind, manifest) if manifest else []
        assert not found, "\n".join(found)

    async def round(self) -> None:
        """Run one pass of every object there is, servers first, and of those that are gone since the last round."""
        for kind in self.context.resources:
            for key in sorted(key_of(manifest) for manifest in self.context.resources[kind]):
                await self.reconcile(kind, key[1], key[0])
        gone, self._gone = self._gone, []
        for kind, key in gone:
            await self.reconcile(kind, key[1], key[0])
        for kind, key in sorted(self.woken):
            if kind == UNDECLARED_ROOM:
                await self.reconcile(kind, key[1], key[0])

    async def settle(self) -> None:
        """Run rounds until one writes nothing and no server is about to be let go; fails when that does not come."""
        for _ in range(_MOST_ROUNDS):
            before = len(self.kubernetes.writes) + len(self.livekit.writes)
            await self.round()
            if len(self.kubernetes.writes) + len(self.livekit.writes) > before:
                continue
            if not self._withdrawn():
                found = all_violations(self.world(), settled=True) if not self.kubernetes.policies else []
                assert not found, "\n".join(found)
                return
            self.clock.advance(WITHDRAWAL_SECONDS)
        raise AssertionError(f"does not settle: {[write.what for write in self.kubernetes.writes[-10:]]}")

    def _withdrawn(self) -> bool:
        known = [memory for memories in self.context.server_pods.values() for memory in memories.values()]
        since = [memory.withdrawn for memory in known if memory.withdrawn and not memory.leaving]
        return any((self.clock() - moment).total_seconds() < WITHDRAWAL_SECONDS for moment in since)

    async def writes_of_another_round(self) -> list[str]:
        """Run one more round; return what it wrote. Nothing, when reconciling is idempotent."""
        before = len(self.kubernetes.writes), len(self.livekit.writes)
        await self.round()
        return [
            *(write.what for write in self.kubernetes.writes[before[0] :]),
            *(" ".join(request) for request in self.livekit.writes[before[1] :]),
        ]

    def forget(self) -> None:
        """Start all records anew."""
        self.kubernetes.forget_writes()
        self.livekit.requests.clear()
        self.woken.clear()

    def written(self) -> list[str]:
        """Return what was written to the API server, Events left out."""
        return [write.what for write in self.kubernetes.writes if write.kind != "Event"]

    # What is there.

    def world(self) -> dict[str, list[Manifest]]:
        """Return kind -> all objects of it."""
        found: dict[str, list[Manifest]] = {}
        for key, manifest in self.kubernetes.objects.items():
            found.setdefault(key[0], []).append(manifest)
        return found

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> Manifest:
        """Return an object; fails when there is none."""
        found = self.kubernetes.peek(kind, namespace, name)
        assert found is not None, f"there is no {kind} {namespace}/{name}, only {self.kubernetes.names(kind)}"
        return found

    def ready(self, kind: str, name: str, namespace: str = NAMESPACE) -> tuple[str, str]:
        """Return status and reason of the condition `Ready`."""
        condition = manifests.ready_condition(self.get(kind, name, namespace))
        return condition["status"], condition["reason"]

    def condition(self, kind: str, name: str, condition: str, namespace: str = NAMESPACE) -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = manifests.condition(self.get(kind, name, namespace), condition)
        return found["status"], found["reason"]

    def message(self, kind: str, name: str, namespace: str = NAMESPACE) -> str:
        """Return the message of the condition `Ready`."""
        return str(manifests.ready_condition(self.get(kind, name, namespace))["message"])

    def events(self) -> list[tuple[str, str, str]]:
        """Return type, reason and message of the Events."""
        found = [m for key, m in self.kubernetes.objects.items() if key[0] == "Event"]
        return [(event["type"], event["reason"], event["message"]) for event in found]

    # What others do.

    async def with_server(self, **spec: Any) -> Manifest:
        """Put a LiveKitServer there that is Ready."""
        self.kubernetes.put(manifests.server(**spec))
        await self.settle()
        self.run_server()
        await self.settle()
        assert self.ready("LiveKitServer", "voice") == ("True", "Ready")
        return self.get("LiveKitServer", "voice")

    async def with_pool(self, **spec: Any) -> Manifest:
        """Put a VoiceAgentPool there that is Ready, beside the server that must be there."""
        if self.kubernetes.peek("Secret", NAMESPACE, "providers") is None:
            self.kubernetes.put(manifests.providers_secret())
        self.kubernetes.put(manifests.pool(**spec))
        await self.settle()
        self.run_pods()
        await self.settle()
        return self.get("VoiceAgentPool", "front-desk")

    def server_pods(self, name: str = "voice", *, leaving: bool | None = False) -> list[Manifest]:
        """Return a server's pods by name; those that leave as well when `leaving` is None, only those when True."""
        wanted = {LABEL_INSTANCE: name, LABEL_COMPONENT: COMPONENT_SERVER}
        pods = [m for key, m in sorted(self.kubernetes.objects.items()) if key[0] == "Pod"]
        ours = [pod for pod in pods if wanted.items() <= (pod["metadata"].get("labels") or {}).items()]
        return [pod for pod in ours if leaving in (None, "deletionTimestamp" in pod["metadata"])]

    def run_server(self, name: str = "voice", *, address: str = "192.0.2.1") -> None:
        """Do what scheduler and kubelet do for a server: its pods run and those that leave end."""
        homes = {key[1] for key in self.kubernetes.objects if key[0] == "LiveKitServer" and key[2] == name}
        for pod in self.server_pods(name, leaving=True):
            if pod["metadata"]["namespace"] in homes:  # a stranger's, whatever its labels say, is its own affair
                self.kubernetes.vanish("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
        for pod in self.server_pods(name):
            self.run_server_pod(pod, address=address)

    def run_server_pod(self, pod: Manifest, *, address: str = "192.0.2.1", node: str = "node-1") -> None:
        """Let one server answer."""
        if (pod["status"] or {}).get("podIP") is None:
            self._pods += 1
            # By name, as the kubelet lists them, whatever the order in the spec.
            running = [
                {"name": name, "containerID": f"c{self._pods}/{name}", "restartCount": 0, "state": {"running": {}}}
                for name in sorted(container["name"] for container in pod["spec"]["containers"])
            ]
            status = {
                "phase": "Running",
                "hostIP": address,
                "podIP": f"10.244.2.{self._pods}",
                "containerStatuses": running,
            }
            self.kubernetes.edit("Pod", *_named(pod), {"spec": {"nodeName": node}})
            self.kubernetes.edit("Pod", *_named(pod), status, status=True)
        self.kubernetes.edit("Pod", *_named(pod), {"conditions": [_READY_CONDITION]}, status=True)

    def stop_server(self, name: str = "voice") -> None:
        """Let the servers' pods fail their probe."""
        unready = {"conditions": [{**_READY_CONDITION, "status": "False"}]}
        for pod in self.server_pods(name):
            self.kubernetes.edit("Pod", *_named(pod), unready, status=True)

    def crash_server(self, output: str, name: str = "voice") -> None:
        """Let the servers' containers end again and again with these words."""
        for pod in self.server_pods(name):
            container = {
                "name": "livekit-server",
                "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            }
            self.kubernetes.logs[pod["metadata"]["name"]] = output
            self.kubernetes.edit("Pod", *_named(pod), {"containerStatuses": [container]}, status=True)

    def give_node_ports(self) -> None:
        """Do what the API server does for Services of type NodePort whose ports it is to choose."""
        for key, service in list(self.kubernetes.objects.items()):
            if key[0] != "Service" or service["spec"].get("type") != "NodePort":
                continue
            ports = [
                {**port, "nodePort": port.get("nodePort") or self._node_port()} for port in service["spec"]["ports"]
            ]
            if ports != service["spec"]["ports"]:
                self.kubernetes.edit(*key, {"spec": {"ports": ports}})

    def take_routes(self) -> None:
        """Do what a Gateway's controller and cert-manager do for what is well."""
        for key in [key for key in self.kubernetes.objects if key[0] in ("HTTPRoute", "Certificate")]:
            well = [{"type": "Accepted", "status": "True"}, {"type": "Ready", "status": "True"}]
            status: Manifest = {"conditions": well[1:]}
            if key[0] == "HTTPRoute":
                refs = self.kubernetes.objects[key]["spec"]["parentRefs"]
                status = {"parents": [{"parentRef": ref, "conditions": well[:1]} for ref in refs]}
            self.kubernetes.edit(*key, status, status=True)

    def _node_port(self) -> int:
        self._node_ports += 1
        return 30000 + self._node_ports

    async def pass_check(self, name: str = "voice", output: str = "TCP Ports\n7880 - HTTP service\n") -> None:
        """Let the pod that checks a new configuration end with these words."""
        await self.reconcile("LiveKitServer", name)
        for key in [key for key in self.kubernetes.objects if key[0] == "Pod" and f"{name}-livekit-check-" in key[2]]:
            self.kubernetes.logs[key[2]] = output
            self.kubernetes.edit("Pod", key[1], key[2], {"phase": "Succeeded"}, status=True)

    def agent_pods(self, *, leaving: bool | None = False) -> list[Manifest]:
        """Return the agent pods by name; those that leave as well when `leaving` is None, only those when True."""
        pods = [m for key, m in sorted(self.kubernetes.objects.items()) if key[0] == "Pod"]
        wanted = {LABEL_COMPONENT: COMPONENT_AGENT}
        ours = [pod for pod in pods if wanted.items() <= (pod["metadata"].get("labels") or {}).items()]
        return [pod for pod in ours if leaving in (None, "deletionTimestamp" in pod["metadata"])]

    def run_pods(self, *, sessions: int = 0, errors: tuple[ProviderError, ...] = ()) -> None:
        """Make every agent pod that has not started yet warm and registered."""
        for pod in self.agent_pods():
            if pod["status"].get("podIP") is None:
                self._pods += 1
                address = f"10.244.1.{self._pods}"
                status = {"phase": "Running", "podIP": address, "conditions": [_READY_CONDITION]}
                self.kubernetes.edit("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"], status, status=True)
                self.worker.answers[address] = WorkerStatus(True, sessions, errors)

    def say(
        self,
        pod: Manifest,
        *,
        sessions: int = 0,
        errors: tuple[ProviderError, ...] = (),
        jobs: dict[str, str] | None = None,
        dispatches: Sequence[str] = (),
        **more: Any,
    ) -> None:
        """Let a running agent pod hold calls (a number, or `jobs`: id -> room), or be refused by providers.

        `dispatches` are the ids of the dispatches that it has taken jobs for, in the order of the jobs; `more` are
        fields of its status.
        """
        taken = dict(zip(jobs or {}, dispatches, strict=False))
        held = tuple(WorkerJob(job, room, dispatch=taken.get(job, "")) for job, room in (jobs or {}).items())
        self.worker.answers[pod["status"]["podIP"]] = WorkerStatus(
            True, sessions or len(held), errors, jobs=held, **more
        )

    def end_pods(self) -> None:
        """Let the pods that leave end."""
        for pod in self.agent_pods(leaving=True):
            self.kubernetes.vanish("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])

    def collect_garbage(self) -> None:
        """Delete what a pass made that was under way when its owner went, as the garbage collector does."""
        objects = self.kubernetes.objects
        uids = {manifest["metadata"]["uid"] for manifest in objects.values()}
        for key, manifest in list(objects.items()):
            owners = manifest["metadata"].get("ownerReferences") or ()
            if key in objects and owners and not any(owner["uid"] in uids for owner in owners):
                self.kubernetes.vanish(*key)

    def _changed(self, kind: str, manifest: Manifest) -> None:
        if take_in(self.context, self.table[kind], manifest) is None:
            self._gone.append((kind, key_of(manifest)))

    def _follow(self, event: WatchEvent) -> None:
        manifest, kind = event.object, event.object["kind"]
        key = key_of(manifest)
        if kind in self.context.resources:
            cache = self.context.resources[kind]
            if event.type == "DELETED":
                cache.remove(key)
            else:
                cache.put(manifest)
        elif kind == "Node":
            if event.type == "DELETED":
                self.context.nodes.remove(key)
            else:
                self.context.nodes.put(manifest)
        elif kind in self.context.children:
            managed = (manifest["metadata"].get("labels") or {}).get(LABEL_MANAGED_BY) == MANAGED_BY
            if event.type == "DELETED" or not managed:
                self.context.children[kind].remove(key)
            else:
                self.context.children[kind].put(manifest)


def _named(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


_READY_CONDITION = {"type": "Ready", "status": "True"}
