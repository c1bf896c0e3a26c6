"""What the status says of a server's network: URLs and the list for firewalls."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from livekit_operator.api.livekitserver import LiveKitServer, ServerPort
from livekit_operator.manifests.metadata import Manifest
from livekit_operator.servers.manifests.media import Protocol, SlotPorts, spec_ports
from livekit_operator.servers.manifests.names import child_name
from livekit_operator.servers.manifests.service import load_balancer_address
from livekit_operator.servers.manifests.signalling import signal_service_port, signal_service_type
from livekit_operator.servers.manifests.turn import TURN_TLS_PUBLIC_PORT

_HTTPS_PORT, _HTTP_PORT = 443, 80


def internal_url(server: LiveKitServer) -> str:
    """Return the URL for pods in the cluster."""
    return f"ws://{child_name(server)}.{server.metadata.namespace}.svc:{signal_service_port(server)}"


def lacks_external_url(server: LiveKitServer) -> bool:
    """Return whether the spec can never give a URL for clients."""
    signal = server.spec.signal
    named = signal.external_url or signal.ingress or signal.gateway
    return not named and signal_service_type(server) == "ClusterIP" and server.spec.media.exposure != "HostNetwork"


def external_url(server: LiveKitServer, *, node_address: str | None, signal_service: Manifest | None) -> str | None:
    """Return the URL for clients: the one asked for, else of what forwards to the signalling; None while unknown."""
    signal = server.spec.signal
    if signal.external_url:
        return signal.external_url
    if signal.ingress:
        return _url(signal.ingress.host, None, secure=signal.ingress.tls is not None)
    if signal.gateway:
        return _url(signal.gateway.host, signal.gateway.parent_refs[0].port, secure=signal.gateway.tls)
    service_type = signal_service_type(server)
    if service_type == "LoadBalancer":
        address = load_balancer_address(signal_service)
        return _url(address, signal_service_port(server)) if address else None
    if node_address and server.spec.media.exposure == "HostNetwork":
        return _url(node_address, signal.port)
    port = _signal_node_port(signal_service) if service_type == "NodePort" else None
    return _url(node_address, port) if node_address and port else None


def firewall(
    server: LiveKitServer, ports: Mapping[int, SlotPorts], *, signal_service: Manifest | None = None
) -> list[ServerPort]:
    """Return what must be reachable from outside, as lines of `status.ports`; `ports` is slot -> its ports.

    With NodePort a line is missing until its port is assigned. Not in it are the metrics, which are for the cluster,
    and TURN's relay range: clients talk to TURN's own port only, and TURN opens each path from the range to the media
    ports, which are in the list anyway (pkg/service/turn.go NewTurnServer; RFC 8656, section 3).
    """
    exposure, turn = server.spec.media.exposure, server.spec.turn
    by_spec = () if exposure == "NodePort" else (spec_ports(server),)
    slots = [ports[slot] for slot in sorted(ports)] or by_spec
    where = "clients, at the load balancer of each server" if exposure == "LoadBalancer" else "clients, at the nodes"
    lines = _signal_lines(server, signal_service)
    lines += [_Line("ice-tcp", "TCP", slot.tcp, slot.tcp, where) for slot in slots if slot.tcp]
    lines += [_Line("media", "UDP", *slot.udp, where) for slot in slots]
    lines += [_Line("turn-udp", "UDP", slot.turn_udp, slot.turn_udp, where) for slot in slots if slot.turn_udp]
    if turn and turn.tls:
        at = f"clients, at {turn.domain}"
        lines.append(_Line("turn-tls", "TCP", TURN_TLS_PUBLIC_PORT, TURN_TLS_PUBLIC_PORT, at))
        if turn.tls.service is None:
            leads = f"what leads {turn.domain}:{TURN_TLS_PUBLIC_PORT} to the servers"
            lines.append(_Line("turn-tls", "TCP", turn.tls.port, turn.tls.port, leads))
    return [line.as_status() for line in _merged(lines)]


@dataclass(frozen=True)
class _Line:
    name: str
    protocol: Protocol
    start: int
    end: int
    needed_by: str

    def as_status(self) -> ServerPort:
        return ServerPort(
            name=self.name,
            protocol=self.protocol,
            port=self.start,
            end_port=self.end if self.end > self.start else None,
            needed_by=self.needed_by,
        )


def _signal_lines(server: LiveKitServer, service: Manifest | None) -> list[_Line]:
    """Return where clients reach the signalling and, if that is in front of the servers, what must reach these."""
    signal = server.spec.signal
    service_type = signal_service_type(server)
    if signal.external_url:
        url = urlsplit(signal.external_url)
        front = url.hostname or ""
        default = _HTTPS_PORT if url.scheme == "wss" else _HTTP_PORT
        fronts = {url.port or default}
    elif signal.ingress:
        front, fronts = signal.ingress.host, {_HTTPS_PORT if signal.ingress.tls else _HTTP_PORT}
    elif signal.gateway:
        front, default = signal.gateway.host, _HTTPS_PORT if signal.gateway.tls else _HTTP_PORT
        fronts = {parent.port or default for parent in signal.gateway.parent_refs}
    else:
        front, fronts = "", set()
    lines = [_Line("signal", "TCP", port, port, f"clients, at {front}") for port in sorted(fronts)]

    host_network = server.spec.media.exposure == "HostNetwork"
    entry, where = None, "at the nodes"
    if service_type == "LoadBalancer":
        entry, where = signal_service_port(server), "at the load balancer of the signalling"
    elif service_type == "NodePort" and (front or not host_network):
        entry = _signal_node_port(service)
    elif host_network and not (signal.ingress or signal.gateway):
        # An ingress or gateway is in the cluster and comes by the Service; of another URL nobody knows.
        entry = signal.port
    if entry and entry not in fronts:
        needed_by = f"what leads {front} to the servers" if front else "clients"
        lines.append(_Line("signal", "TCP", entry, entry, f"{needed_by}, {where}"))
    return lines


def _merged(lines: Iterable[_Line]) -> list[_Line]:
    """Return the lines with neighbouring ports of one kind as one, kinds in the order they came, ports ascending."""
    kinds: dict[tuple[str, Protocol, str], list[tuple[int, int]]] = {}
    for line in lines:
        kinds.setdefault((line.name, line.protocol, line.needed_by), []).append((line.start, line.end))
    merged = []
    for (name, protocol, needed_by), spans in kinds.items():
        whole: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if whole and start <= whole[-1][1] + 1:
                whole[-1] = (whole[-1][0], max(whole[-1][1], end))
            else:
                whole.append((start, end))
        merged += [_Line(name, protocol, start, end, needed_by) for start, end in whole]
    return merged


def _url(host: str, port: int | None, *, secure: bool = False) -> str:
    default = _HTTPS_PORT if secure else _HTTP_PORT
    address = f"[{host}]" if ":" in host else host
    return f"{'wss' if secure else 'ws'}://{address}{'' if port in (None, default) else f':{port}'}"


def _signal_node_port(service: Manifest | None) -> int | None:
    ports = (service or {}).get("spec", {}).get("ports") or ()
    return next((int(p["nodePort"]) for p in ports if p.get("name") == "signal" and p.get("nodePort")), None)
