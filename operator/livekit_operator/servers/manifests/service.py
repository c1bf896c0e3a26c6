"""What a server's Services have in common."""

from collections.abc import Mapping
from typing import Any

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.server.media import ServiceSettings
from livekit_operator.constants import LABEL_SERVING
from livekit_operator.manifests.metadata import COMPONENT_SERVER, Manifest, child, selector


def serving_selector(server: LiveKitServer) -> dict[str, str]:
    """Return the labels of the pods that get new connections."""
    return {**selector(server, COMPONENT_SERVER), LABEL_SERVING: "true"}


def build_service(server: LiveKitServer, name: str, spec: dict[str, Any], settings: ServiceSettings) -> Manifest:
    """Return a Service with the user's settings; the API server takes some of them only for LoadBalancer."""
    if spec["type"] == "LoadBalancer":
        if settings.load_balancer_class:
            spec = {**spec, "loadBalancerClass": settings.load_balancer_class}
        if settings.source_ranges:
            spec = {**spec, "loadBalancerSourceRanges": list(settings.source_ranges)}
    return with_annotations(child(server, COMPONENT_SERVER, "Service", "v1", name, spec=spec), settings.annotations)


def with_annotations(manifest: Manifest, annotations: Mapping[str, str]) -> Manifest:
    """Return a manifest with the user's annotations."""
    if annotations:
        manifest["metadata"]["annotations"] = dict(annotations)
    return manifest


def has_address(service: Manifest) -> bool:
    """Return whether a Service has got the address of a load balancer."""
    return load_balancer_address(service) is not None


def load_balancer_address(service: Manifest | None) -> str | None:
    """Return the IP of a load balancer, its host name when it has no IP, None while it has neither."""
    points = (service or {}).get("status", {}).get("loadBalancer", {}).get("ingress") or []
    found = next((p["ip"] for p in points if p.get("ip")), None) or next(
        (p["hostname"] for p in points if p.get("hostname")), None
    )
    return str(found) if found else None
