"""What protects a server's pods: policies, a disruption budget, an account."""

from collections.abc import Mapping
from typing import Any

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import LABEL_SERVING, LABEL_SLOT
from livekit_operator.manifests.metadata import COMPONENT_SERVER, Manifest, child, selector
from livekit_operator.servers.manifests.media import SlotPorts, slot_name
from livekit_operator.servers.manifests.names import child_name, is_shared

# Every namespace has this label
# (https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name).
_LABEL_NAMESPACE = "kubernetes.io/metadata.name"


def build_network_policies(
    server: LiveKitServer, operator_namespace: str, ports: Mapping[int, SlotPorts]
) -> list[Manifest]:
    """Return the policies by which nothing but the server's own ports is reached; `ports` is slot -> its ports.

    One is for what all servers have, and one for each slot for its media. Egress is not restricted: media goes to
    wherever clients are. Policies do not apply to pods on the host network, which therefore have none.
    Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
    """
    if server.spec.media.exposure == "HostNetwork":
        return []
    turn, prometheus = server.spec.turn, server.spec.prometheus
    # Names, not numbers: servers of an older configuration stay reachable while they drain.
    public = ["signal", "turn-tls"] if turn and turn.tls else ["signal"]
    rules: list[dict[str, Any]] = [{"ports": [{"protocol": "TCP", "port": name} for name in public]}]
    if prometheus or is_shared(server):  # servers that share rooms have metrics unasked, for the operator
        everybody = prometheus and not prometheus.allowed_namespaces
        names = sorted({operator_namespace, *(prometheus.allowed_namespaces if prometheus else ())})
        only = {"matchExpressions": [{"key": _LABEL_NAMESPACE, "operator": "In", "values": names}]}
        namespaces = {"namespaceSelector": {} if everybody else only}
        rules.append({"ports": [{"protocol": "TCP", "port": "metrics"}], "from": [namespaces]})
    return [
        _ingress_policy(server, child_name(server), selector(server, COMPONENT_SERVER), rules),
        *(
            _ingress_policy(
                server,
                slot_name(server, slot),
                {**selector(server, COMPONENT_SERVER), LABEL_SLOT: str(slot)},
                [{"ports": _policy_ports(ports[slot])}],
            )
            for slot in sorted(ports)
        ),
    ]


def _ingress_policy(server: LiveKitServer, name: str, pods: Mapping[str, str], rules: list[dict[str, Any]]) -> Manifest:
    spec = {"podSelector": {"matchLabels": dict(pods)}, "policyTypes": ["Ingress"], "ingress": rules}
    return child(server, COMPONENT_SERVER, "NetworkPolicy", "networking.k8s.io/v1", name, spec=spec)


def _policy_ports(ports: SlotPorts) -> list[dict[str, Any]]:
    start, end = ports.udp
    media = {"protocol": "UDP", "port": start, **({"endPort": end} if end > start else {})}
    turn = [{"protocol": "UDP", "port": ports.turn_udp}] if ports.turn_udp else []
    tcp = [{"protocol": "TCP", "port": ports.tcp}] if ports.tcp else []
    return [media, *tcp, *turn]


def build_disruption_budget(server: LiveKitServer) -> Manifest | None:
    """Return the budget by which a drained node does not end calls; None when no servers are wanted.

    A single server is not evicted at all: the operator moves it off a cordoned node when its rooms are empty. Of
    several one may be evicted at a time, and drains. It counts pods that have ever got connections, whatever the
    label's value is now: one that stands by has no calls. Draining pods need no budget: the eviction of a
    Terminating pod asks none (pkg/registry/core/pod/storage/eviction.go canIgnorePDB) and does not shorten its drain;
    nor do they count as available, so nothing else is evicted meanwhile.

    maxUnavailable is counted from spec.replicas by the scale subresource of LiveKitServer, which owns the pods
    (https://kubernetes.io/docs/tasks/run-application/configure-pdb/#arbitrary-controllers-and-selectors).
    """
    if server.spec.replicas == 0:
        return None
    spec = {
        "maxUnavailable": 1 if is_shared(server) and server.spec.replicas > 1 else 0,
        "selector": {
            "matchLabels": selector(server, COMPONENT_SERVER),
            "matchExpressions": [{"key": LABEL_SERVING, "operator": "Exists"}],
        },
        # A server that cannot serve must not hold up a node for ever.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return child(server, COMPONENT_SERVER, "PodDisruptionBudget", "policy/v1", child_name(server), spec=spec)


def build_service_account(server: LiveKitServer) -> Manifest:
    """Return the ServiceAccount of the servers' pods, which never talk to Kubernetes."""
    return child(
        server, COMPONENT_SERVER, "ServiceAccount", "v1", child_name(server), automountServiceAccountToken=False
    )
