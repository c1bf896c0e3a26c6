"""TURN's Service, and the certificates of TURN and of signalling."""

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.server.signal import Tls
from livekit_operator.manifests.metadata import COMPONENT_SERVER, Manifest, child
from livekit_operator.servers.manifests.names import child_name
from livekit_operator.servers.manifests.service import build_service, serving_selector

# livekit-server tells clients this port of the TURN domain, whatever it listens on (pkg/service/roommanager.go).
TURN_TLS_PUBLIC_PORT = 443


def build_turn_service(server: LiveKitServer) -> Manifest | None:
    """Return the Service that forwards port 443 of the TURN domain to the servers, None when none is asked for."""
    tls = server.spec.turn and server.spec.turn.tls
    if not tls or tls.service is None:
        return None
    port = {"name": "turn-tls", "port": TURN_TLS_PUBLIC_PORT, "targetPort": "turn-tls", "protocol": "TCP"}
    spec = {"type": "LoadBalancer", "selector": serving_selector(server), "ports": [port]}
    return build_service(server, f"{child_name(server)}-turn", spec, tls.service)


def build_certificates(server: LiveKitServer) -> list[Manifest]:
    """Return the Certificates that cert-manager is to keep, each in the Secret of its own name.

    Source: https://cert-manager.io/docs/reference/api-docs/#cert-manager.io/v1.CertificateSpec
    """
    ingress, turn = server.spec.signal.ingress, server.spec.turn
    wanted: list[tuple[str, str | None, Tls | None]] = []
    if ingress:
        wanted.append((signal_certificate_name(server), ingress.host, ingress.tls))
    if turn and turn.tls:
        wanted.append((turn_certificate_name(server), turn.domain, turn.tls.certificate))
    return [
        child(
            server,
            COMPONENT_SERVER,
            "Certificate",
            "cert-manager.io/v1",
            name,
            spec={
                "secretName": name,
                "dnsNames": [host],
                "issuerRef": tls.issuer_ref.model_dump(by_alias=True),
            },
        )
        for name, host, tls in wanted
        if host and tls and tls.issuer_ref
    ]


def turn_certificate_secret(server: LiveKitServer) -> str | None:
    """Return the name of the Secret with the certificate of TURN, None when the server needs none."""
    tls = server.spec.turn and server.spec.turn.tls
    return certificate_secret(tls.certificate, turn_certificate_name(server)) if tls and tls.certificate else None


def signal_certificate_name(server: LiveKitServer) -> str:
    """Return the name of the Certificate of the signalling, and of its Secret, where cert-manager is to make one."""
    return f"{server.metadata.name}-signal-tls"


def turn_certificate_name(server: LiveKitServer) -> str:
    """Return the name of the Certificate of TURN, and of its Secret, where cert-manager is to make one."""
    return f"{server.metadata.name}-turn-tls"


def certificate_secret(tls: Tls, requested: str) -> str:
    """Return the Secret of a certificate: the user's, or the requested one."""
    return tls.secret_name or requested
