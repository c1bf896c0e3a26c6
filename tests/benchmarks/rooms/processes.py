"""The two programs that are compared, as processes of this machine: the operator and the floor."""

import asyncio
import base64
import json
import os
import shlex
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.benchmarks.rooms.api import OF_ROOMS
from tests.cluster import addresses
from tests.cluster.machine import Node
from tests.cluster.stat import Stat
from tests.harness.kubectl import Kubectl, until
from tests.harness.target import Target

# Where the operator lives: on a node, so that it reaches Services as a pod does.
NODE = Node(1)
HTTP_PORT, LIVENESS_PORT = 18080, 18090
USER = "rooms-benchmark"
# The FlowSchemas of its requests that change something, of what is made for rooms and of all else, and of the others.
WRITES_OF_ROOMS, WRITES, READS = f"{USER}-writes-of-rooms", f"{USER}-writes", f"{USER}-reads"
_WRITING = ["create", "update", "patch", "delete", "deletecollection"]
_RESOLVER = f"nameserver {addresses.DNS_SERVICE}\nsearch {addresses.CLUSTER_DOMAIN}\noptions ndots:5\n"


class Operator:
    """`python -m livekit_operator` in a node's network, as a ServiceAccount of its own whose requests are counted."""

    def __init__(self, process: Process, started: float) -> None:
        self._process = process
        self.started = started
        """Monotonic moment of the start."""

    @classmethod
    async def start(cls, folder: Path) -> Self:
        """Start it with the files of `prepare`, and return without waiting for it."""
        environment = {
            **_compiling(),
            "KUBECONFIG": str(folder / "kubeconfig"),
            "LIVEKIT_OPERATOR_AGENT_IMAGE": "agent:none",
            "LIVEKIT_OPERATOR_NAMESPACE": "default",
            "LIVEKIT_OPERATOR_WEBHOOK_URL": f"http://{NODE.address}:{HTTP_PORT}",
            "LIVEKIT_OPERATOR_HTTP_PORT": str(HTTP_PORT),
            "LIVEKIT_OPERATOR_LIVENESS_PORT": str(LIVENESS_PORT),
            "LIVEKIT_OPERATOR_LOG_LEVEL": "warning",
        }
        resolver = shlex.quote(str(folder / "resolv.conf"))
        python = shlex.quote(sys.executable)
        script = f"mount --bind {resolver} /etc/resolv.conf && exec {python} -m livekit_operator"
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *("nsenter", f"--net={NODE.network_namespace}", "--", "unshare", "--mount", "sh", "-c", script),
            env=environment,
            stdin=DEVNULL,
        )
        return cls(process, started)

    async def stop(self) -> None:
        """End it as Kubernetes does, by SIGTERM."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.wait()

    @property
    def cpu_seconds(self) -> float:
        """CPU time so far."""
        if (found := Stat.of(self._process.pid)) is None:
            raise RuntimeError("the operator has ended")
        return found.seconds

    @property
    def peak_rss_mib(self) -> float:
        """The largest resident set so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024

    async def reconciled(self) -> tuple[float, float]:
        """Return how many passes of rooms ended well, and how many rooms wait for one; nothing while it starts."""
        values = await self._metrics()
        passes = values.get(("livekit_operator_reconcile_total", "MeetingRoom"), 0.0)
        return passes, values.get(("livekit_operator_queue_depth", "MeetingRoom"), 0.0)

    async def changing(self) -> Counter[str]:
        """Return its requests so far that changed something, by its own count: "PATCH secrets 409" -> their number."""
        return Counter(
            {
                f"{labels['verb']} {labels['resource']} {labels['code']}": round(value)
                for name, labels, value in await self._samples()
                if name == "livekit_operator_kubernetes_requests_total" and labels["verb"] != "GET"
            }
        )

    async def _metrics(self) -> dict[tuple[str, str], float]:
        return {
            (name, labels.get("kind", "")): value
            for name, labels, value in await self._samples()
            if labels.get("result", "ok") == "ok"
        }

    async def _samples(self) -> list[tuple[str, dict[str, str], float]]:
        """Return its metrics, none while it starts."""
        if self._process.returncode is not None:
            raise RuntimeError(f"the operator ended with exit code {self._process.returncode}")
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{NODE.address}:{HTTP_PORT}/metrics") as response,
            ):
                text = await response.text()
        except aiohttp.ClientError:
            return []
        return [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]


def _compiling() -> dict[str, str]:
    """Return our environment, without what keeps Python from compiling once and for all, as the image has it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


async def prepare(target: Target, folder: Path) -> None:
    """Write a kubeconfig with the token of a ServiceAccount, and the node's resolver, into a folder."""
    kubectl = Kubectl(target, "default")
    subject = {"kind": "ServiceAccount", "name": USER, "namespace": "default"}
    counted = [
        _flow_schema(WRITES_OF_ROOMS, 2, _WRITING, [*OF_ROOMS, "meetingrooms/status"]),
        _flow_schema(WRITES, 3, _WRITING, ["*"]),
        _flow_schema(READS, 4, ["*"], ["*"]),
    ]
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": USER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [subject],
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": USER, "namespace": "default"}}
    await kubectl.apply(account, binding, *counted)
    token = (await kubectl("create", "token", USER, "--duration", "6h")).strip()
    config = json.loads(await kubectl("config", "view", "--raw", "--minify", "--output", "json"))
    config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
    path = folder / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    (folder / "resolv.conf").write_text(_RESOLVER)


async def forget(target: Target) -> None:
    """Remove what `prepare` brought into the cluster."""
    kubectl = Kubectl(target, "default")
    names = {"serviceaccount": [USER], "clusterrolebinding": [USER], "flowschema": [WRITES_OF_ROOMS, WRITES, READS]}
    for kind, found in names.items():
        await kubectl("delete", kind, *found, "--ignore-not-found")


def _flow_schema(name: str, precedence: int, verbs: list[str], resources: list[str]) -> dict[str, Any]:
    """Return what makes the API server count the operator's requests with these verbs, without holding them up."""
    anything = {"apiGroups": ["*"], "resources": resources, "clusterScope": True, "namespaces": ["*"]}
    rule = {
        "subjects": [{"kind": "ServiceAccount", "serviceAccount": {"name": USER, "namespace": "default"}}],
        "resourceRules": [{"verbs": verbs, **anything}],
    }
    return {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": name},
        "spec": {
            "priorityLevelConfiguration": {"name": "exempt"},
            "matchingPrecedence": precedence,
            "rules": [rule],
        },
    }


class Floor:
    """`python -m tests.benchmarks.rooms.floor`, ready to begin."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def started(cls, what: str, namespace: str, count: int, server: dict[str, str]) -> AsyncIterator[Self]:
        """Start it and wait until it is ready; raises RuntimeError when it ends before."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.benchmarks.rooms.floor", what, namespace, str(count)),
            stdin=PIPE,
            stdout=PIPE,
            env=_compiling(),
        )
        assert process.stdin
        assert process.stdout
        try:
            # The keys are no argument: every process of the machine can read those.
            process.stdin.write(json.dumps(server).encode())
            process.stdin.close()
            if (await process.stdout.readline()) != b"ready\n":
                raise RuntimeError("the floor did not start")
            yield cls(process)
        finally:
            # One that is left behind by a failure would work on the next run's rooms as well.
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def cpu_seconds(self) -> float:
        """Wait for its end and return its CPU time; raises RuntimeError when it failed."""
        out, _ = await self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"the floor ended with exit code {self._process.returncode}")
        return float(json.loads(out)["cpu"])


async def server_access(kubectl: Kubectl, name: str) -> dict[str, str]:
    """Wait until a server is ready and return its URL and keys, for the floor."""

    async def ready() -> dict[str, Any]:
        status = (await kubectl.get("livekitserver", name)).get("status") or {}
        is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
        return status if is_ready else {}

    status = await until(f"LiveKitServer {name} to be ready", ready, seconds=90)
    secret = (await kubectl.get("secret", status["keysSecretName"]))["data"]
    keys = {key: base64.b64decode(secret[key]).decode() for key in ("apiKey", "apiSecret")}
    return {"url": status["externalUrl"], "api_key": keys["apiKey"], "api_secret": keys["apiSecret"]}
