"""The cluster's DNS: CoreDNS, one on each of two nodes, at the service address that every pod asks."""

import json
from typing import Any

from tests.cluster import addresses, control_plane, images, progress, tools

_NAMESPACE = "kube-system"
_LABELS = {"k8s-app": "kube-dns"}

_CLUSTER_ZONES = f"""\
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
"""
# Without a way out of the cluster, whoever asks for a name outside it is told at once that there is none.
_NO_NAMES = "template ANY ANY {\n        rcode NXDOMAIN\n    }"


def ensure(node_count: int, upstream: str | None) -> None:
    """Apply CoreDNS and wait until it answers; names outside the cluster are asked of `upstream`, if there is one."""
    with progress.step("DNS") as step:
        items = _manifests(min(node_count, 2), corefile(upstream))
        manifests = {"apiVersion": "v1", "kind": "List", "items": items}
        apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=tests-cluster", "-f", "-")
        control_plane.kubectl(*apply, stdin=json.dumps(manifests))
        rollout = ("rollout", "status", "deployment/coredns", "--timeout=120s")
        control_plane.kubectl("-n", _NAMESPACE, *rollout, timeout=150)
        step.result = f"ready at {addresses.DNS_SERVICE}"


def corefile(upstream: str | None) -> str:
    """CoreDNS' configuration: the cluster's zones, and one of its own for all other names.

    Of its own, because within one zone CoreDNS asks `template` before `kubernetes`.
    """
    others = f"cache 30\n    forward . {upstream}" if upstream else _NO_NAMES
    return f"{_CLUSTER_ZONES}.:5353 {{\n    errors\n    {others}\n}}\n"


def _manifests(replicas: int, configuration: str) -> list[dict[str, Any]]:
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
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {"Corefile": configuration}},
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
        _deployment(replicas, configuration),
    ]


def _deployment(replicas: int, configuration: str) -> dict[str, Any]:
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
                "metadata": {"labels": _LABELS, "annotations": {"corefile": tools.digest([configuration], [])}},
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
