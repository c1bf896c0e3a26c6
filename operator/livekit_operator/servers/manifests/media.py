"""How media reaches each server: slots, their Services and ports."""

import re
from dataclasses import dataclass
from typing import Literal

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.server.media import DEFAULT_MUX_PORT, DEFAULT_PORT_RANGE, DEFAULT_TCP_PORT, ServiceSettings
from livekit_operator.constants import LABEL_SLOT
from livekit_operator.errors import Blocked, Problem
from livekit_operator.manifests.metadata import COMPONENT_SERVER, Manifest, selector
from livekit_operator.servers.manifests.names import child_name
from livekit_operator.servers.manifests.service import build_service, load_balancer_address

DEFAULT_TURN_UDP_PORT = 3478

_MEDIA, _ICE_TCP, _TURN_UDP = "media", "ice-tcp", "turn-udp"

Protocol = Literal["TCP", "UDP"]


@dataclass(frozen=True)
class SlotPorts:
    """The ports of one server's media: it listens on them, and clients outside use the same numbers.

    `udp` is the first and the last port, `tcp` None without ICE over TCP, `turn_udp` without TURN over UDP.
    """

    udp: tuple[int, int]
    tcp: int | None
    turn_udp: int | None = None


@dataclass(frozen=True)
class _Port:
    name: str
    protocol: Protocol
    number: int


def slot_name(server: LiveKitServer, slot: int) -> str:
    """Return the name of the pod, Service and NetworkPolicy of a slot."""
    return f"{child_name(server)}-{slot}"


def slot_in(server: LiveKitServer, name: str) -> int | None:
    """Return the slot that a name is of, None when it is of none."""
    prefix, _, number = name.rpartition("-")
    return int(number) if prefix == child_name(server) and re.fullmatch(r"0|[1-9][0-9]{0,3}", number) else None


def build_slot_service(server: LiveKitServer, slot: int, current: Manifest | None) -> Manifest | None:
    """Return the Service that forwards media to the server of a slot and no other; None on the host network.

    `current` is the live Service. With NodePort a server tells clients the port it listens on, so target and node port
    must be the same number. Where the cluster chooses it, the first manifest asks for none and the next one, made of
    what the cluster chose, has it as target port too. `port` is only for the cluster address, which nobody uses; it
    stays the same because server-side apply tells the ports of a Service apart by it.

    Raises Blocked when `media.nodePorts` has none for the slot. As long as a server runs in the slot, this must not be
    applied when it `moves_ports`.

    A server that drains is Terminating for as long as its calls last, and must go on being reached by new packets
    too: clients that change networks come from new addresses. Packets of known addresses follow conntrack, whatever
    the endpoint is. For new ones kube-proxy takes the Terminating endpoint as long as it is "serving"
    (pkg/proxy/topology.go CategorizeEndpoints), but refuses them when the readiness probe has failed, which 406 for
    late node statistics is enough for; and a load balancer's health check fails from the start of the drain
    (pkg/proxy/endpointschangetracker.go getLocalReadyEndpointIPs). publishNotReadyAddresses keeps the endpoint "ready"
    through both (k8s.io/endpointslice utils.go podToEndpoint). It sends nobody to a server that is not ready yet:
    clients learn of a server from the signalling.
    """
    media = server.spec.media
    if media.exposure == "HostNetwork":
        return None
    ports = [{"name": p.name, "port": p.number, "protocol": p.protocol} for p in _service_ports(server)]
    if media.exposure == "NodePort":
        chosen = _node_ports(server, slot, current)
        ports = [{**p, "targetPort": chosen.get(str(p["name"]), p["port"])} for p in ports]
        ports = [{**p, "nodePort": chosen[str(p["name"])]} if p["name"] in chosen else p for p in ports]
    else:
        ports = [{**p, "targetPort": p["port"]} for p in ports]
    spec = {
        "type": media.exposure,
        "selector": {**selector(server, COMPONENT_SERVER), LABEL_SLOT: str(slot)},
        "ports": ports,
        # Keeps clients' addresses, and takes no detour through a node that the server is not on.
        "externalTrafficPolicy": "Local",
        "publishNotReadyAddresses": True,
    }
    return build_service(server, slot_name(server, slot), spec, media.load_balancer or ServiceSettings())


def moves_ports(current: Manifest, desired: Manifest) -> bool:
    """Return whether to apply the desired Service of a slot would cut off a server that runs by the current one."""

    def used(service: Manifest) -> dict[str, tuple[int, int | None]]:
        node = service["spec"].get("type") == "NodePort"
        ports = service["spec"].get("ports") or ()
        return {p["name"]: (int(p["targetPort"]), p.get("nodePort") if node else None) for p in ports}

    wanted = used(desired)
    # A node port that is not the target port too was only just chosen: no server uses it yet.
    return any(
        wanted.get(name) != (target, node) for name, (target, node) in used(current).items() if node in (None, target)
    )


def slot_ports(server: LiveKitServer, service: Manifest | None) -> SlotPorts | None:
    """Return the ports of a server by its Service, None until all are assigned; on the host network by the spec."""
    if server.spec.media.exposure == "HostNetwork":
        return spec_ports(server)
    if service is None:
        return None
    field = "nodePort" if server.spec.media.exposure == "NodePort" else "port"
    numbers = {p.get("name"): int(p.get(field) or 0) for p in service["spec"].get("ports") or ()}
    wanted = [p.name for p in _service_ports(server)]
    if not all(numbers.get(name) for name in wanted):
        return None
    media = [numbers[name] for name in wanted if name not in (_ICE_TCP, _TURN_UDP)]
    tcp, turn_udp = (numbers[name] if name in wanted else None for name in (_ICE_TCP, _TURN_UDP))
    return SlotPorts((min(media), max(media)), tcp, turn_udp)


def slot_address(server: LiveKitServer, service: Manifest | None) -> str | None:
    """Return the address that a server's media is reached at when it is not that of its node: an IP, or a host name.

    None with LoadBalancer is "not yet", otherwise "that of the node". Host names are for the caller to resolve.
    """
    if server.spec.media.node_ip:
        return server.spec.media.node_ip
    if server.spec.media.exposure != "LoadBalancer":
        return None
    return load_balancer_address(service)


def has_ice_tcp(server: LiveKitServer) -> bool:
    """Return whether servers offer ICE over TCP."""
    media = server.spec.media
    return media.exposure != "LoadBalancer" or media.load_balancer is None or media.load_balancer.ice_tcp


def spec_ports(server: LiveKitServer) -> SlotPorts:
    """Return the ports that the spec says, with their defaults; with NodePort those of the cluster address."""
    media, turn = server.spec.media, server.spec.turn
    host = media.exposure == "HostNetwork"
    udp = (DEFAULT_PORT_RANGE.start, DEFAULT_PORT_RANGE.end) if host else (DEFAULT_MUX_PORT, DEFAULT_MUX_PORT)
    given = media.udp and (media.udp.port_range or media.udp.mux_ports)
    return SlotPorts(
        udp=(given.start, given.end) if given else udp,
        tcp=(media.tcp_port or DEFAULT_TCP_PORT) if has_ice_tcp(server) else None,
        turn_udp=(turn.udp_port or DEFAULT_TURN_UDP_PORT) if turn and turn.udp else None,
    )


def _service_ports(server: LiveKitServer) -> list[_Port]:
    """Return the ports of a server's Service; with NodePort their numbers are only those of the cluster address."""
    ports = spec_ports(server)
    start, end = ports.udp
    media = [_Port(_MEDIA if start == end else f"{_MEDIA}-{n}", "UDP", n) for n in range(start, end + 1)]
    turn: list[_Port] = [_Port(_TURN_UDP, "UDP", ports.turn_udp)] if ports.turn_udp else []
    tcp: list[_Port] = [_Port(_ICE_TCP, "TCP", ports.tcp)] if ports.tcp else []
    return [*media, *tcp, *turn]


def _node_ports(server: LiveKitServer, slot: int, current: Manifest | None) -> dict[str, int]:
    """Return name -> node port: of the range that is given, else what the cluster has chosen so far."""
    names = [port.name for port in _service_ports(server)]
    given = server.spec.media.node_ports
    if given is None:
        live = (current or {}).get("spec", {}).get("ports") or ()
        return {p["name"]: int(p["nodePort"]) for p in live if p.get("name") in names and p.get("nodePort")}
    first = given.start + slot * len(names)
    last = first + len(names) - 1
    if last > given.end:
        replicas = max(1, server.spec.replicas)
        raise Blocked(
            Problem(
                reasons.NODE_PORTS_EXHAUSTED,
                f"{slot_name(server, slot)} needs node ports {first}-{last}, but media.nodePorts ends with "
                f"{given.end}. "
                f"{replicas} server(s) and as many that drain need {2 * replicas * len(names)} ports: "
                f"{given.start}-{given.start + 2 * replicas * len(names) - 1}. Set spec.media.nodePorts so.",
            )
        )
    return {name: first + index for index, name in enumerate(names)}
