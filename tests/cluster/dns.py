"""The cluster's DNS: CoreDNS, one on each of two nodes, at the service address that every pod asks."""

import json
from typing import Any

from tests.cluster import addresses, control_plane, images, progress, tools

_NAMESPACE = "kube-system"
_LABELS = {"k8s-app": "kube-dns"}

# The second zone: there is no way out of the cluster, so whoever asks for a name outside it is told at once that
# there is none. A zone of its own, because within one CoreDNS asks `template` before `kubernetes`.
_COREFILE = f"""\
{addresses.CLUSTER_DOMAIN}:5353 in-addr.arpa:5353 ip6.arpa:5353 {{
    errors
    health :8080
    ready :8181
    kubernetes {addresses.CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        ttl 5
    }}
    cache 5
    loadbalance
}}
.:5353 {{
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def ensure(node_count: int) -> None:
    """Apply CoreDNS and wait until it answers."""
    with progress.step("DNS") as step:
        manifests = {"apiVersion": "v1", "kind": "List", "items": _manifests(min(node_count, 2))}
        apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=tests-cluster", "-f", "-")
        control_plane.kubectl(*apply, stdin=json.dumps(manifests))
        rollout = ("rollout", "status", "deployment/coredns", "--timeout=120s")
        control_plane.kubectl("-n", _NAMESPACE, *rollout, timeout=150)
        step.result = f"ready at {addresses.DNS_SERVICE}"


def _manifests(replicas: int) -> list[dict[str, Any]]:
    name = {"name": "coredns", "namespace": _NAMESPACE}
    account = {"kind": "ServiceAccount", "name": "coredns", "namespace": _NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"}
    rules = [
        {
            "apiGroups": [""],
            "resources": ["services", "namespaces", "pods"],
            "verbs": ["list", "watch"],
        },
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name},
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "system:coredns"}, "rules": rules},
        {
            "apiVersion": rbac,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:coredns"},
            "roleRef": role,
            "subjects": [account],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {"Corefile": _COREFILE}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": _NAMESPACE},
            "spec": {
                "clusterIP": str(addresses.DNS_SERVICE),
                "selector": _LABELS,
                "ports": [
                    {"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "targetPort": 5353, "protocol": "TCP"},
                ],
            },
        },
        _deployment(replicas),
    ]


def _deployment(replicas: int) -> dict[str, Any]:
    apart = {"labelSelector": {"matchLabels": _LABELS}, "topologyKey": "kubernetes.io/hostname"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": _NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": _LABELS},
            # Never two on a node, so that losing one node leaves the others their DNS; hence no surge either.
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {
                # Pods of its own for every configuration.
                "metadata": {"labels": _LABELS, "annotations": {"corefile": tools.digest([_COREFILE], [])}},
                "spec": {
                    "serviceAccountName": "coredns",
                    "priorityClassName": "system-cluster-critical",
                    "dnsPolicy": "Default",
                    "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}},
                    "containers": [_container()],
                    "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
                },
            },
        },
    }


def _container() -> dict[str, Any]:
    return {
        "name": "coredns",
        "image": images.pin(images.COREDNS).reference,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": 5353, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 5353, "protocol": "TCP"},
        ],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "failureThreshold": 5},
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
