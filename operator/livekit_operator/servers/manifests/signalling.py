"""How clients reach a server's signalling: Service, Ingress, route."""

from typing import Any

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.manifests.metadata import COMPONENT_SERVER, Manifest, child
from livekit_operator.servers.manifests.names import child_name
from livekit_operator.servers.manifests.service import build_service, serving_selector, with_annotations
from livekit_operator.servers.manifests.turn import certificate_secret, signal_certificate_name


def signal_service_type(server: LiveKitServer) -> str:
    """Return the type of the signalling's Service: the one asked for, or what an Ingress, route or URL needs."""
    signal, exposure = server.spec.signal, server.spec.media.exposure
    if signal.service.type:
        return signal.service.type
    if exposure == "HostNetwork" or signal.ingress or signal.gateway or signal.external_url:
        return "ClusterIP"
    return exposure


def signal_service_port(server: LiveKitServer) -> int:
    """Return the port of the signalling's Service, which need not be the one that servers listen on."""
    return server.spec.signal.service.port or server.spec.signal.port


def build_signal_service(server: LiveKitServer) -> Manifest:
    """Return the Service by which pods, the operator and, with some types, clients reach servers."""
    # By its name the target port follows servers through a rollout that changes its number.
    port = {"name": "signal", "port": signal_service_port(server), "targetPort": "signal", "protocol": "TCP"}
    spec = {"type": signal_service_type(server), "selector": serving_selector(server), "ports": [port]}
    return build_service(server, child_name(server), spec, server.spec.signal.service)


def build_ingress(server: LiveKitServer) -> Manifest | None:
    """Return the Ingress of the signalling, None when none is asked for."""
    ingress = server.spec.signal.ingress
    if ingress is None:
        return None
    backend = {"service": {"name": child_name(server), "port": {"name": "signal"}}}
    rule = {"host": ingress.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    spec: dict[str, Any] = {"rules": [rule]}
    if ingress.class_name:
        spec["ingressClassName"] = ingress.class_name
    if ingress.tls:
        spec["tls"] = [
            {"hosts": [ingress.host], "secretName": certificate_secret(ingress.tls, signal_certificate_name(server))}
        ]
    manifest = child(server, COMPONENT_SERVER, "Ingress", "networking.k8s.io/v1", child_name(server), spec=spec)
    return with_annotations(manifest, ingress.annotations)


def build_http_route(server: LiveKitServer) -> Manifest | None:
    """Return the HTTPRoute of the signalling, None when none is asked for. It needs Gateway API 1.2 or newer.

    Where a route says nothing, its gateway chooses a timeout for whole requests, and a WebSocket is one request:
    Envoy's 15 s would end every call's signalling. "0s" is no timeout. It is of the extended feature
    HTTPRouteRequestTimeout; `backendRequest`, of another that fewer gateways have, is not needed for it.
    Source: https://gateway-api.sigs.k8s.io/guides/http-timeouts/ and GEP-1742
    """
    gateway = server.spec.signal.gateway
    if gateway is None:
        return None
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "backendRefs": [{"name": child_name(server), "port": signal_service_port(server)}],
        "timeouts": {"request": "0s"},
    }
    spec = {
        "parentRefs": [parent.model_dump(by_alias=True, exclude_none=True) for parent in gateway.parent_refs],
        "hostnames": [gateway.host],
        "rules": [rule],
    }
    api_version = "gateway.networking.k8s.io/v1"
    manifest = child(server, COMPONENT_SERVER, "HTTPRoute", api_version, child_name(server), spec=spec)
    return with_annotations(manifest, gateway.annotations)
