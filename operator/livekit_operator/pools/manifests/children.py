"""Children of a VoiceAgentPool that all its versions share: names, credentials for its server, account, policies."""

from typing import Any

from livekit_operator.api.common import SecretKeyRef
from livekit_operator.api.providers import secrets_of
from livekit_operator.api.tools import secrets_of_tools
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import DRAIN_MARGIN_SECONDS, KEY_API_KEY, KEY_API_SECRET, LABEL_BUSY
from livekit_operator.manifests.metadata import (
    COMPONENT_AGENT,
    Manifest,
    child,
    opaque_secret,
    qualified_name,
    selector,
)

# Every namespace has it: https://kubernetes.io/docs/concepts/services-networking/network-policies/
_LABEL_NAMESPACE = "kubernetes.io/metadata.name"


def agent_name(pool: VoiceAgentPool) -> str:
    """Return the name by which rooms ask for these agents."""
    namespace = pool.metadata.namespace
    name = pool.spec.agent_name or pool.metadata.name
    return qualified_name(namespace, name, pool.spec.server_ref.namespace or namespace)


def child_name(pool: VoiceAgentPool) -> str:
    """Return the name of the Secret with the server's credentials, of the pods' account and of their policy."""
    return f"{pool.metadata.name}-agent"


def pod_selector(pool: VoiceAgentPool) -> str:
    """Return the pods' label selector as text, as the scale subresource wants it."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector(pool, COMPONENT_AGENT).items()))


def agent_secrets(pool: VoiceAgentPool) -> list[tuple[str, str, SecretKeyRef]]:
    """Return field below `spec.agent`, variable and Secret key of each secret of the stock agent's own fields."""
    agent = pool.spec.agent
    providers = [secret for place, part in agent.providers.items() for secret in secrets_of(place, part)]
    return [*providers, *secrets_of_tools(agent.tools)]


def secret_variables(pool: VoiceAgentPool) -> dict[str, SecretKeyRef]:
    """Return variable -> the Secret key that `spec.agent.env` takes it from."""
    sources = {variable.name: variable.value_from or {} for variable in pool.spec.agent.env}
    found = {name: _secret_key(source.get("secretKeyRef")) for name, source in sources.items()}
    return {name: reference for name, reference in found.items() if reference}


def secret_sources(pool: VoiceAgentPool) -> list[str]:
    """Return the names of the Secrets all of whose keys `spec.agent.envFrom` makes variables of."""
    return sorted({source.secret_ref.name for source in pool.spec.agent.env_from or () if source.secret_ref})


def _secret_key(part: Any) -> SecretKeyRef | None:
    """Return a reference as in a Pod, which only the API server checks, and only when the pod is made."""
    try:
        return SecretKeyRef(name=part["name"], key=part["key"])
    except (KeyError, TypeError, ValueError):
        return None


def grace_seconds(pool: VoiceAgentPool) -> int:
    """Return after how many seconds Kubernetes kills a pod that has been told to terminate."""
    given = pool.spec.termination_grace_period_seconds
    return given if given is not None else pool.spec.drain_timeout_seconds + DRAIN_MARGIN_SECONDS


def build_credentials(pool: VoiceAgentPool, api_key: str, api_secret: str) -> Manifest:
    """Return the Secret with the server's key: pods can read Secrets only of their own namespace."""
    values = {KEY_API_KEY: api_key, KEY_API_SECRET: api_secret}
    return opaque_secret(pool, COMPONENT_AGENT, child_name(pool), values)


def build_service_account(pool: VoiceAgentPool) -> Manifest:
    """Return the ServiceAccount of the agents' pods, which never talk to Kubernetes."""
    return child(pool, COMPONENT_AGENT, "ServiceAccount", "v1", child_name(pool), automountServiceAccountToken=False)


def build_budget(pool: VoiceAgentPool, busy: int) -> Manifest:
    """Return the budget by which none of the `busy` pods is evicted: the operator drains cordoned nodes itself.

    A whole number, unlike a percentage, is not counted from the owner's scale subresource (pkg/controller/disruption
    getExpectedPodCount), and one that is never above what there is raises no alarm. A busy pod that is not ready stays
    as well: fewer are healthy then than must be.
    """
    spec = {
        "minAvailable": busy,
        "selector": {"matchLabels": {**selector(pool, COMPONENT_AGENT), LABEL_BUSY: "true"}},
    }
    return child(pool, COMPONENT_AGENT, "PodDisruptionBudget", "policy/v1", f"{pool.metadata.name}-busy", spec=spec)


def build_network_policy(pool: VoiceAgentPool, operator_namespace: str) -> Manifest:
    """Return the policy by which only the operator reaches the agents; their metrics, where asked for, are for all.

    Egress is not restricted: agents connect to the server, to providers, to wherever media is.
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
