"""What a LiveKitServer, a pool or a room may have the operator do with rights that its writer need not have.

The operator makes Ingresses, routes, certificates, load balancers and pods for whoever may write its resources: who may
not make them could have it make any. What is asked for is compared with what the chart's values allow; each refusal
names the field and the value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.server.media import ServiceSettings
from livekit_operator.api.server.signal import Tls
from livekit_operator.settings import Allowed

Part = Literal[
    "Ingress",
    "HTTPRoute",
    "SignalCertificate",
    "TurnCertificate",
    "SignalService",
    "MediaService",
    "TurnService",
    "Pod",
]

# Annotations whose values are names of hosts as well, separated by commas.
_HOST_ANNOTATIONS = ("*/server-alias", "external-dns.alpha.kubernetes.io/*hostname")
# Those that ask cert-manager for a certificate of an Ingress.
_ISSUER_ANNOTATIONS = {"cert-manager.io/cluster-issuer": "ClusterIssuer", "cert-manager.io/issuer": "Issuer"}
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
# What Helm keeps of a release, and tokens that let nodes into a cluster.
_OTHERS_SECRETS = ("sh.helm.release.", "bootstrap-token-")


@dataclass(frozen=True)
class Refusal:
    """Something that is not made, and why."""

    part: Part
    message: str


def server_refusals(server: LiveKitServer, signal_service_type: str, allowed: Allowed) -> list[Refusal]:
    """Return what of a LiveKitServer is not allowed; `signal_service_type` is what its signalling's Service becomes."""
    return list(_server_refusals(server, signal_service_type, allowed))


def pod_refusal(priority_class: str | None, allowed: Allowed) -> str | None:
    """Return why pods may not have a PriorityClass; None when they may."""
    if priority_class is None:
        return None
    patterns = allowed.priority_classes
    system = priority_class.startswith("system-")
    if priority_class in patterns or (not system and _matches(priority_class, patterns)):
        return None
    return _refused("spec.podTemplate.priorityClassName", priority_class, "priorityClasses")


def metadata_refusal(names: Sequence[str], path: str, allowed: Allowed) -> str | None:
    """Return which label or annotation may not be given to what the operator makes; None when all may."""
    for name in names:
        if _matches(name, allowed.denied_annotations):
            return _refused(path, name, "deniedAnnotations")
        if not _matches(name, allowed.annotations):
            return _refused(path, name, "annotations")
    return None


def secret_name_refusal(namespace: str, room: str, name: str, path: str, allowed: Allowed) -> str | None:
    """Return why a token Secret of a room may not have a name; None when it may."""
    if name.startswith(_OTHERS_SECRETS):
        return f"{path}: Secrets named {name} are Kubernetes' or Helm's own; choose another name."
    if name == room or name.startswith(f"{room}-") or _matches(f"{namespace}/{name}", allowed.secret_names):
        return None
    return (
        f"{path}: {name} does not begin with {room}-. Choose a name that does; the chart's value allowed.secretNames "
        "allows others."
    )


def _server_refusals(server: LiveKitServer, signal_service_type: str, allowed: Allowed) -> Iterator[Refusal]:
    spec, media, namespace = server.spec, server.spec.media, server.metadata.namespace
    if media.exposure == "HostNetwork" and not allowed.host_network:
        yield Refusal("Pod", _refused("spec.media.exposure", "HostNetwork", "hostNetwork"))
    if message := pod_refusal(spec.pod_template.priority_class_name, allowed):
        yield Refusal("Pod", message)
    yield from _service(
        "SignalService", "spec.signal.service", signal_service_type, spec.signal.service, namespace, allowed
    )
    if media.exposure != "HostNetwork":
        settings = media.load_balancer or ServiceSettings()
        yield from _service("MediaService", "spec.media.loadBalancer", media.exposure, settings, namespace, allowed)
    yield from _ingress(server, allowed)
    yield from _route(server, allowed)
    if spec.turn and spec.turn.tls:
        tls = spec.turn.tls
        if tls.service:
            yield from _service("TurnService", "spec.turn.tls.service", "LoadBalancer", tls.service, namespace, allowed)
        yield from _certificate(
            "TurnCertificate",
            "spec.turn.domain",
            spec.turn.domain,
            "spec.turn.tls.certificate",
            tls.certificate,
            namespace,
            allowed,
        )


def _service(
    part: Part, path: str, kind: str, settings: ServiceSettings, namespace: str, allowed: Allowed
) -> Iterator[Refusal]:
    if kind == "NodePort" and not allowed.node_ports:
        field = "spec.media.exposure" if part == "MediaService" else f"{path}.type"
        yield Refusal(part, _refused(field, "a Service of type NodePort", "nodePorts"))
    if kind == "LoadBalancer" and not _matches(settings.load_balancer_class or "", allowed.load_balancer_classes):
        what = settings.load_balancer_class or "a load balancer without a class"
        yield Refusal(part, _refused(f"{path}.loadBalancerClass", what, "loadBalancerClasses"))
    yield from _annotations(part, f"{path}.annotations", settings.annotations, namespace, allowed)


def _ingress(server: LiveKitServer, allowed: Allowed) -> Iterator[Refusal]:
    ingress, path, namespace = server.spec.signal.ingress, "spec.signal.ingress", server.metadata.namespace
    if ingress is None:
        return
    name = ingress.class_name or ingress.annotations.get(_CLASS_ANNOTATION) or ""
    if not _matches(name, allowed.ingress_classes):
        what = name or "an Ingress without a class"
        yield Refusal("Ingress", _refused(f"{path}.className", what, "ingressClasses"))
    yield from _host("Ingress", f"{path}.host", ingress.host, namespace, allowed)
    yield from _annotations("Ingress", f"{path}.annotations", ingress.annotations, namespace, allowed)
    yield from _certificate(
        "SignalCertificate", f"{path}.host", ingress.host, f"{path}.tls", ingress.tls, namespace, allowed
    )


def _route(server: LiveKitServer, allowed: Allowed) -> Iterator[Refusal]:
    gateway, path, namespace = server.spec.signal.gateway, "spec.signal.gateway", server.metadata.namespace
    if gateway is None:
        return
    for n, parent in enumerate(gateway.parent_refs):
        name = f"{parent.namespace or namespace}/{parent.name}"
        if not _matches(name, allowed.gateways):
            yield Refusal("HTTPRoute", _refused(f"{path}.parentRefs[{n}]", f"Gateway {name}", "gateways"))
    yield from _host("HTTPRoute", f"{path}.host", gateway.host, namespace, allowed)
    yield from _annotations("HTTPRoute", f"{path}.annotations", gateway.annotations, namespace, allowed)


def _certificate(
    part: Part, host_path: str, host: str | None, path: str, tls: Tls | None, namespace: str, allowed: Allowed
) -> Iterator[Refusal]:
    if tls is None or tls.issuer_ref is None:
        return
    issuer = f"{tls.issuer_ref.kind}/{tls.issuer_ref.name}"
    if not _matches(issuer, allowed.issuers):
        yield Refusal(part, _refused(f"{path}.issuerRef", issuer, "issuers"))
    if host:
        yield from _host(part, host_path, host, namespace, allowed)


def _annotations(
    part: Part, path: str, annotations: Mapping[str, str], namespace: str, allowed: Allowed
) -> Iterator[Refusal]:
    if message := metadata_refusal(sorted(annotations), path, allowed):
        yield Refusal(part, message)
    for name, value in sorted(annotations.items()):
        if any(fnmatchcase(name, pattern) for pattern in _HOST_ANNOTATIONS):
            for host in value.split(","):
                yield from _host(part, f"{path}[{name}]", host.strip(), namespace, allowed)
        if (kind := _ISSUER_ANNOTATIONS.get(name)) and not _matches(f"{kind}/{value}", allowed.issuers):
            yield Refusal(part, _refused(f"{path}[{name}]", f"{kind}/{value}", "issuers"))


def _host(part: Part, path: str, host: str, namespace: str, allowed: Allowed) -> Iterator[Refusal]:
    if not allowed.hosts:
        return
    if not _matches(host, (*allowed.hosts.get(namespace, ()), *allowed.hosts.get("*", ()))):
        yield Refusal(part, _refused(path, f"{host} in namespace {namespace}", "hosts"))


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _refused(path: str, what: str, value: str) -> str:
    told = f"the chart's value allowed.{value} says what is: choose that, or change it."
    return f"{path}: {what[:253]} is not allowed; {told}"
