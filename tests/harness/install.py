"""Installing what is under test: the chart, and the providers or their stand-ins."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import layout, tools
from tests.harness.kubectl import Kubectl, Manifest, run, until
from tests.harness.target import Target, TargetError

SYSTEM_NAMESPACE = "livekit-operator-system"
RELEASE = "livekit-operator"
DEMO_NAMESPACE = "voice-demo"
CHART = Path("charts/livekit-operator")
PROVIDERS = "providers"
PROVIDERS_PORT = 8090
PROVIDERS_URL = f"http://{PROVIDERS}.{SYSTEM_NAMESPACE}.svc:{PROVIDERS_PORT}/v1"
# The stand-ins accept just these (tests/providers/keys.py).
TEST_KEYS = {"deepgram": "test-deepgram-key", "openai": "test-openai-key"}


@dataclass(frozen=True)
class Images:
    """References of the images under test.

    `providers` is None where no stand-in is wanted, `redis` for the chart's; `hostile` is a server that misbehaves,
    `node_agent` an agent for Node.js.
    """

    operator: str
    agent: str
    providers: str | None
    redis: str | None = None
    hostile: str | None = None
    node_agent: str | None = None


def find_images(target: Target, environment: Mapping[str, str] = os.environ) -> Images:
    """Return the images built for the local cluster, or those that the environment names for another one."""
    if target.local:
        built = json.loads(layout.IMAGES.read_text())
        names = ("operator", "agent", "providers", "redis", "hostile", "node-agent")
        return Images(*(built[name] for name in names))
    try:
        operator, agent = environment["OPERATOR_IMAGE"], environment["AGENT_IMAGE"]
    except KeyError as missing:
        raise TargetError(f"Another cluster pulls its images: set {missing.args[0]}.") from None
    return Images(
        operator,
        agent,
        environment.get("PROVIDERS_IMAGE"),
        environment.get("REDIS_IMAGE"),
        environment.get("HOSTILE_IMAGE"),
        environment.get("NODE_AGENT_IMAGE"),
    )


def provider_keys(environment: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """Return the keys of the real providers when both are set, else None."""
    keys = {"deepgram": environment.get("DEEPGRAM_API_KEY", ""), "openai": environment.get("OPENAI_API_KEY", "")}
    return keys if all(keys.values()) else None


async def install_chart(target: Target, images: Images, *, base_urls: Mapping[str, str]) -> None:
    """Install or upgrade the chart and wait until the operator is ready."""
    values = {
        "image": _image(images.operator),
        "agents": {"image": _image(images.agent), "providerBaseUrls": dict(base_urls)},
        **({"redis": {"image": _image(images.redis)}} if images.redis else {}),
    }
    await run(
        tools.path("helm"),
        # CRDs that somebody applied by hand, as the integration tests do, become the release's.
        *("upgrade", "--install", "--take-ownership", "--force-conflicts", RELEASE, str(CHART), "--values", "-"),
        *("--namespace", SYSTEM_NAMESPACE, "--create-namespace"),
        *("--kubeconfig", str(target.kubeconfig), "--kube-context", target.context),
        *("--wait", "--timeout", "120s"),
        stdin=json.dumps(values),
    )


async def remove_demo(target: Target) -> None:
    """Remove what a demo left: its server has the host ports that others want."""
    await Kubectl(target, DEMO_NAMESPACE).delete_namespace()


async def uninstall_chart(target: Target) -> None:
    """Remove the release, its namespace and, as a person would by hand, its CRDs."""
    kubectl = Kubectl(target, SYSTEM_NAMESPACE)
    await run(
        tools.path("helm"),
        *("uninstall", RELEASE, "--ignore-not-found", "--wait", "--namespace", SYSTEM_NAMESPACE),
        *("--kubeconfig", str(target.kubeconfig), "--kube-context", target.context),
    )
    await kubectl.delete_namespace()


async def install_providers(target: Target, images: Images) -> dict[str, str]:
    """Run the stand-ins beside the operator; return the base URL of each provider."""
    if images.providers is None:
        raise TargetError("Set DEEPGRAM_API_KEY and OPENAI_API_KEY, or PROVIDERS_IMAGE for the stand-ins.")
    kubectl = Kubectl(target, SYSTEM_NAMESPACE)
    await kubectl.create_namespace()
    await kubectl.apply(*_provider_manifests(images.providers))
    await until("the provider stand-ins", lambda: _available(kubectl, PROVIDERS), seconds=120)
    return dict.fromkeys(("deepgram", "openai"), PROVIDERS_URL)


def provider_secret(keys: Mapping[str, str], name: str = "providers") -> Manifest:
    """Return the Secret that pools take the providers' keys from."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(keys)}


async def _available(kubectl: Kubectl, name: str) -> bool:
    deployment = await kubectl.get("deployment", name)
    status = deployment.get("status") or {}
    current = status.get("observedGeneration") == deployment["metadata"]["generation"]
    replicas = deployment["spec"]["replicas"]
    updated = status.get("updatedReplicas") == status.get("availableReplicas") == status.get("replicas") == replicas
    return bool(current and updated)


def _image(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def _provider_manifests(image: str) -> tuple[Manifest, Manifest]:
    labels = {"app.kubernetes.io/name": "provider-stand-ins"}
    container = {
        "name": "providers",
        "image": image,
        "ports": [{"containerPort": PROVIDERS_PORT}],
        "readinessProbe": {"tcpSocket": {"port": PROVIDERS_PORT}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "metadata": {"labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            # The Service's own variable PROVIDERS_PORT would look like the stand-ins' setting of that name.
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": PROVIDERS, "namespace": SYSTEM_NAMESPACE},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": PROVIDERS, "namespace": SYSTEM_NAMESPACE},
        "spec": {"selector": labels, "ports": [{"port": PROVIDERS_PORT, "targetPort": PROVIDERS_PORT}]},
    }
    return deployment, service
