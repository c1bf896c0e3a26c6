"""The operator's settings, read once from the environment."""

import os
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from livekit_operator.constants import BASE_URL_PATTERN, OPERATOR_HTTP_PORT, OPERATOR_LIVENESS_PORT

_DENIED_ANNOTATIONS = (
    # Configuration of ingress controllers, word for word: they run whatever stands there.
    "*snippet*",
    "haproxy-ingress.github.io/config-*",
    # Secrets of other namespaces, which ingress controllers can read.
    "nginx.ingress.kubernetes.io/auth-secret*",
    "nginx.ingress.kubernetes.io/auth-tls-secret",
    "nginx.ingress.kubernetes.io/proxy-ssl-secret",
    # Copies from and to other namespaces.
    "reflector.v1.k8s.emberstack.com/*",
    "replicator.v1.mittwald.de/*",
    "kubed.appscode.com/*",
    # What other controllers take for their own objects: clusters, repositories, credentials, releases, dashboards.
    "argocd.argoproj.io/*",
    "*.fluxcd.io/*",
    "fluxcd.io/*",
    "helm.sh/*",
    "meta.helm.sh/*",
    "cluster.x-k8s.io/*",
    "jenkins.io/*",
    "sealedsecrets.bitnami.com/*",
    "grafana_*",
    "kubectl.kubernetes.io/last-applied-configuration",
    "kubernetes.io/service-account.*",
)


class Allowed(BaseModel):
    """What resources may have the operator make with its own rights, beyond pods and Services in their namespace.

    Texts are patterns: `*` is any number of any characters. A class that is left out of a resource is the empty text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    host_network: bool = True
    """Servers on the host network."""
    node_ports: bool = True
    """Services of type NodePort."""
    load_balancer_classes: tuple[str, ...] = ("*",)
    """`loadBalancerClass` of Services of type LoadBalancer; none of these with an empty list."""
    ingress_classes: tuple[str, ...] = ("*",)
    gateways: tuple[str, ...] = ("*",)
    """`<namespace>/<name>` of Gateways that routes attach to."""
    issuers: tuple[str, ...] = ("*",)
    """`<kind>/<name>` of cert-manager's issuers."""
    hosts: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Namespace, `*` for all -> host names of Ingresses, routes and Certificates. Any where this is empty."""
    priority_classes: tuple[str, ...] = ("*",)
    """PriorityClasses of servers' and agents' pods. Kubernetes' own, `system-…`, only where named in full."""
    annotations: tuple[str, ...] = ("*",)
    """Annotations of Services, Ingresses and routes, labels and annotations of token Secrets."""
    denied_annotations: tuple[str, ...] = _DENIED_ANNOTATIONS
    """Those of them that are refused all the same."""
    secret_names: tuple[str, ...] = ()
    """`<namespace>/<name>` of token Secrets whose names do not begin with the room's."""


BaseUrl = Annotated[str, Field(pattern=BASE_URL_PATTERN)]


class Settings(BaseModel):
    """Settings; each comes from the environment variable named in upper case with the prefix `LIVEKIT_OPERATOR_`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent_image: str = Field(min_length=1)
    """Stock agent image of pools that name none."""
    server_image: str = Field(default="livekit/livekit-server", min_length=1)
    """Repository of the media server's image; the tag is the resource's version."""
    redis_image: str = Field(default="redis:7.2-alpine", min_length=1)
    """Image of the small Redis of `spec.redis.managed`."""
    namespace: str = Field(default="livekit-system", min_length=1)
    """Namespace that the operator runs in, for NetworkPolicies that let it in."""
    webhook_url: str | None = None
    """Root under which LiveKit servers reach this operator's webhooks; None switches webhooks off."""
    provider_base_urls: dict[str, BaseUrl] = Field(default_factory=dict)
    """Default base URL of each provider, for pools that name none: a gateway, a proxy, a stand-in (JSON object)."""
    omit_ids: bool = False
    """Whether pods that ask for no user id get none: a cluster such as OpenShift then chooses it."""
    allowed: Allowed = Field(default_factory=Allowed)
    """What resources may ask for (JSON object)."""
    http_port: int = OPERATOR_HTTP_PORT
    liveness_port: int = OPERATOR_LIVENESS_PORT
    workers: Annotated[int, Field(ge=1, le=1000)] = 64
    """Objects of one kind reconciled at once: at most half of them of one namespace, a quarter of one server."""
    server_poll_seconds: Annotated[float, Field(gt=0)] = 5.0
    """How often each server's rooms are listed, those of one with thousands more seldom."""
    pool_poll_seconds: Annotated[float, Field(gt=0)] = 2.0
    """How often a pool's workers are asked for their sessions."""
    clock_look_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How often it is checked whether the clock was moved."""


PREFIX = "LIVEKIT_OPERATOR_"


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of an environment; raises pydantic.ValidationError naming each wrong one."""
    given: dict[str, object] = {
        name: environment[PREFIX + name.upper()]
        for name in Settings.model_fields
        if environment.get(PREFIX + name.upper())
    }
    if isinstance(urls := given.get("provider_base_urls"), str):
        given["provider_base_urls"] = TypeAdapter(dict[str, BaseUrl]).validate_json(urls)
    if isinstance(allowed := given.get("allowed"), str):
        given["allowed"] = Allowed.model_validate_json(allowed)
    return Settings.model_validate(given)
