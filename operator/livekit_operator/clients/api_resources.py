"""Which kinds of objects the operator uses, and where the API server serves them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from livekit_operator.api.kinds import KINDS
from livekit_operator.constants import API_VERSION

Manifest = dict[str, Any]


@dataclass(frozen=True)
class ApiResource:
    """A kind of object and where the API server serves it."""

    api_version: str
    plural: str
    kind: str

    @property
    def type_meta(self) -> Manifest:
        """Return the fields by which an object says what it is."""
        return {"apiVersion": self.api_version, "kind": self.kind}

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of a collection or an object."""
        prefix = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        parts = [prefix]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [self.plural, *([name] if name else []), *([subresource] if subresource else [])]
        return "/".join(parts)


RESOURCES: Mapping[str, ApiResource] = {
    resource.kind: resource
    for resource in (
        ApiResource("v1", "pods", "Pod"),
        ApiResource("v1", "secrets", "Secret"),
        ApiResource("v1", "services", "Service"),
        ApiResource("v1", "configmaps", "ConfigMap"),
        ApiResource("v1", "events", "Event"),
        ApiResource("v1", "serviceaccounts", "ServiceAccount"),
        ApiResource("v1", "nodes", "Node"),
        ApiResource("apps/v1", "deployments", "Deployment"),
        ApiResource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget"),
        ApiResource("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy"),
        ApiResource("networking.k8s.io/v1", "ingresses", "Ingress"),
        ApiResource("gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute"),
        ApiResource("gateway.networking.k8s.io/v1", "gateways", "Gateway"),
        ApiResource("cert-manager.io/v1", "certificates", "Certificate"),
        *(ApiResource(API_VERSION, kind.plural, kind.kind) for kind in KINDS),
    )
}
