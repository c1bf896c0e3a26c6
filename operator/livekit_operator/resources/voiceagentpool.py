"""Children of a VoiceAgentPool: the agent's configuration, the credentials for its server, its pods."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from livekit_operator.api.agent import Provider, TurnHandling
from livekit_operator.api.common import SecretKeyRef
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import (
    AGENT_STATUS_PORT,
    ANNOTATION_INPUTS,
    ANNOTATION_KEYS,
    DRAIN_MARGIN_SECONDS,
    KEY_API_KEY,
    KEY_API_SECRET,
    LABEL_BUSY,
    LABEL_REVISION,
    WORKER_PORT,
)
from livekit_operator.resources.metadata import (
    COMPONENT_AGENT,
    Manifest,
    child,
    digest,
    labels,
    opaque_secret,
    qualified_name,
    secret_variable,
    selector,
)
from livekit_operator.resources.security import unprivileged_container, unprivileged_pod

CONFIG_FILE = "config.json"
_CONFIG_FOLDER = "/etc/voice-agent"
# Every namespace has it: https://kubernetes.io/docs/concepts/services-networking/network-policies/
_LABEL_NAMESPACE = "kubernetes.io/metadata.name"
_MORE_PODS_THAN_ANY_POOL_HAS = 1_000_000


@dataclass(frozen=True)
class PoolInputs:
    """What a pool's pods need from outside the pool: the server's URL, digests of keys, the stock image."""

    server_url: str
    secrets_digest: str
    key_digest: str
    agent_image: str


def agent_name(pool: VoiceAgentPool) -> str:
    """Return the name by which rooms ask for these agents."""
    namespace = pool.metadata.namespace
    name = pool.spec.agent_name or pool.metadata.name
    return qualified_name(namespace, name, pool.spec.server_ref.namespace or namespace)


def child_name(pool: VoiceAgentPool) -> str:
    """Return the name of the ConfigMap and of the Secret with the server's credentials."""
    return f"{pool.metadata.name}-agent"


def pod_selector(pool: VoiceAgentPool) -> str:
    """Return the pods' label selector as text, as the scale subresource wants it."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector(pool, COMPONENT_AGENT).items()))


def provider_secrets(pool: VoiceAgentPool) -> dict[str, SecretKeyRef]:
    """Return role -> the Secret key that holds the provider's API key."""
    agent = pool.spec.agent
    parts = {"stt": agent.stt, "llm": agent.llm, "tts": agent.tts}
    return {role: part.api_key_secret_ref for role, part in parts.items() if part}


def grace_seconds(pool: VoiceAgentPool) -> int:
    """Return when Kubernetes kills a leaving pod, counted from its being told to leave."""
    given = pool.spec.termination_grace_period_seconds
    return given if given is not None else pool.spec.drain_timeout_seconds + DRAIN_MARGIN_SECONDS


def build_agent_config(pool: VoiceAgentPool, base_urls: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration that the agent image reads. It holds no key."""
    agent = pool.spec.agent

    def provider(part: Provider | None) -> dict[str, Any]:
        if part is None:
            return {}
        values: dict[str, Any] = part.model_dump(by_alias=True, exclude={"api_key_secret_ref"})
        values["baseUrl"] = values["baseUrl"] or base_urls.get(values["provider"])
        return values

    return {
        "agentName": agent_name(pool),
        "sessionsPerPod": pool.spec.sessions_per_pod,
        "idleProcesses": pool.spec.idle_processes,
        "drainTimeoutSeconds": pool.spec.drain_timeout_seconds,
        "instructions": agent.instructions,
        "greeting": agent.greeting,
        "stt": provider(agent.stt),
        "llm": provider(agent.llm),
        "tts": provider(agent.tts),
        "turnHandling": (agent.turn_handling or TurnHandling()).model_dump(by_alias=True),
    }


def build_config_map(pool: VoiceAgentPool, config: dict[str, Any]) -> Manifest:
    """Return the ConfigMap with the agent's configuration."""
    data = {CONFIG_FILE: json.dumps(config, indent=2, ensure_ascii=False) + "\n"}
    return child(pool, COMPONENT_AGENT, "ConfigMap", "v1", child_name(pool), data=data)


def build_credentials(pool: VoiceAgentPool, api_key: str, api_secret: str) -> Manifest:
    """Return the Secret with the server's key: pods can read Secrets only of their own namespace."""
    values = {KEY_API_KEY: api_key, KEY_API_SECRET: api_secret}
    return opaque_secret(pool, COMPONENT_AGENT, child_name(pool), values)


def build_service_account(pool: VoiceAgentPool) -> Manifest:
    """Return the ServiceAccount of the agents' pods, which never talk to Kubernetes."""
    return child(pool, COMPONENT_AGENT, "ServiceAccount", "v1", child_name(pool), automountServiceAccountToken=False)


def build_budget(pool: VoiceAgentPool) -> Manifest:
    """Return the budget by which no pod with calls is evicted: the operator empties cordoned nodes itself.

    It asks for more pods than there can be. A whole number, unlike a percentage, is not counted from the owner's scale
    subresource (pkg/controller/disruption getExpectedPodCount). A pod with calls that is not ready is kept as well, for
    it may only have lost its server: the budget is never met, which is when such pods could go.
    """
    spec = {
        "minAvailable": _MORE_PODS_THAN_ANY_POOL_HAS,
        "selector": {"matchLabels": {**selector(pool, COMPONENT_AGENT), LABEL_BUSY: "true"}},
    }
    return child(pool, COMPONENT_AGENT, "PodDisruptionBudget", "policy/v1", f"{pool.metadata.name}-busy", spec=spec)


def build_network_policy(pool: VoiceAgentPool, operator_namespace: str) -> Manifest:
    """Return the policy by which only the operator reaches the agents; their metrics, where asked for, are for all.

    Agents call out: to the server, to providers, to wherever media is. What leaves is left alone.
    """
    # Names, not numbers: pods of other versions have theirs.
    asked = [{"protocol": "TCP", "port": name} for name in ("worker", "status")]
    operator = {"namespaceSelector": {"matchLabels": {_LABEL_NAMESPACE: operator_namespace}}}
    rules: list[dict[str, Any]] = [{"ports": asked, "from": [operator]}]
    if pool.spec.metrics_port:
        rules.append({"ports": [{"protocol": "TCP", "port": "metrics"}]})
    spec = {
        "podSelector": {"matchLabels": selector(pool, COMPONENT_AGENT)},
        "policyTypes": ["Ingress"],
        "ingress": rules,
    }
    return child(pool, COMPONENT_AGENT, "NetworkPolicy", "networking.k8s.io/v1", child_name(pool), spec=spec)


def build_pod(pool: VoiceAgentPool, config: dict[str, Any], inputs: PoolInputs, suffix: str) -> Manifest:
    """Return one agent pod; `suffix` makes its name."""
    spec = _pod_spec(pool, inputs)
    secrets_and_config = digest([config, inputs.secrets_digest])
    revision = digest([spec, secrets_and_config])
    manifest = child(pool, COMPONENT_AGENT, "Pod", "v1", f"{pool.metadata.name}-{revision[:5]}-{suffix}", spec=spec)
    manifest["metadata"]["labels"] = {**labels(pool, COMPONENT_AGENT), LABEL_REVISION: revision}
    manifest["metadata"]["annotations"] = {ANNOTATION_INPUTS: secrets_and_config, ANNOTATION_KEYS: inputs.key_digest}
    return manifest


def cpu_count(quantity: str | None) -> int:
    """Return the whole CPUs of a Kubernetes quantity, at least 1.

    Without it the worker takes every CPU of its node for its own (livekit-agents utils/hw/cpu.py).
    """
    match = re.fullmatch(r"([0-9.]+)(m?)", quantity or "")
    if not match:
        return 1
    return max(1, ceil(float(match[1]) / (1000 if match[2] else 1)))


def _pod_spec(pool: VoiceAgentPool, inputs: PoolInputs) -> dict[str, Any]:
    return {
        "restartPolicy": "Always",  # a worker that lost its server ends after its retries and must come back
        "terminationGracePeriodSeconds": grace_seconds(pool),
        **unprivileged_pod(),
        "containers": [_container(pool, inputs)],
        "volumes": [
            {"name": "config", "configMap": {"name": child_name(pool)}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def _container(pool: VoiceAgentPool, inputs: PoolInputs) -> dict[str, Any]:
    status = {"port": "status"}
    return {
        "name": "agent",
        "image": pool.spec.agent.image or inputs.agent_image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(pool, inputs),
        "ports": [
            {"name": "worker", "containerPort": WORKER_PORT, "protocol": "TCP"},
            {"name": "status", "containerPort": AGENT_STATUS_PORT, "protocol": "TCP"},
        ],
        # The worker's own port answers 200 before it is warm or registered; the status port tells the truth.
        "startupProbe": {
            "httpGet": {**status, "path": "/healthz"},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 60,
        },
        "readinessProbe": {"httpGet": {**status, "path": "/readyz"}, "periodSeconds": 1, "timeoutSeconds": 2},
        "livenessProbe": {
            "httpGet": {**status, "path": "/healthz"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": pool.spec.resources.model_dump(exclude_defaults=True),
        "securityContext": unprivileged_container(),
        "volumeMounts": [
            {"name": "config", "mountPath": _CONFIG_FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own emptyDir
        ],
    }


def _environment(pool: VoiceAgentPool, inputs: PoolInputs) -> list[dict[str, Any]]:
    providers = [
        secret_variable(f"{role.upper()}_API_KEY", reference.name, reference.key)
        for role, reference in provider_secrets(pool).items()
    ]
    return [
        {"name": "AGENT_CONFIG", "value": f"{_CONFIG_FOLDER}/{CONFIG_FILE}"},
        {"name": "LIVEKIT_URL", "value": inputs.server_url},
        secret_variable("LIVEKIT_API_KEY", child_name(pool), KEY_API_KEY),
        secret_variable("LIVEKIT_API_SECRET", child_name(pool), KEY_API_SECRET),
        *providers,
        {"name": "NUM_CPUS", "value": str(cpu_count(pool.spec.resources.requests.get("cpu")))},
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 - the pod's own emptyDir
    ]
