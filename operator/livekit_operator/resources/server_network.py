"""How a LiveKitServer is reached: Services, Ingress, routes, certificates, policies, URLs and the firewall list.

Three ways lead to a server. Signalling goes by one Service to the servers that take new clients. Media goes to one
server and no other, so each server, by its slot, has a Service, ports and an address of its own; on the host network
the node's ports are the server's and no Service is needed. TURN over TLS goes by one Service to any server: TURN
passes on to the server that has the room.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from livekit_operator.api.livekitserver import LiveKitServer, ServerPort
from livekit_operator.api.media import DEFAULT_MUX_PORT, DEFAULT_PORT_RANGE, DEFAULT_TCP_PORT, ServiceSettings
from livekit_operator.api.signal import Tls
from livekit_operator.constants import LABEL_SERVING, LABEL_SLOT
from livekit_operator.errors import Blocked
from livekit_operator.resources.livekitserver import child_name, is_shared
from livekit_operator.resources.metadata import COMPONENT_SERVER, Manifest, child, selector

DEFAULT_TURN_UDP_PORT = 3478
# livekit-server tells clients this port of the TURN domain, whatever it listens on (pkg/service/roommanager.go).
TURN_TLS_PUBLIC_PORT = 443

_MEDIA, _ICE_TCP, _TURN_UDP = "media", "ice-tcp", "turn-udp"
# Every namespace has this label (https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name).
_LABEL_NAMESPACE = "kubernetes.io/metadata.name"
_HTTPS_PORT, _HTTP_PORT = 443, 80

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


# --- Signalling -------------------------------------------------------------------------------------------------------


def signal_service_type(server: LiveKitServer) -> str:
    """Return the type of the signalling's Service, asked for or by what else leads there."""
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
    """Return the Service that leads pods, the operator and, by its type, clients to the servers that take new ones."""
    # By its name the target port follows servers through a rollout that changes its number.
    port = {"name": "signal", "port": signal_service_port(server), "targetPort": "signal", "protocol": "TCP"}
    spec = {"type": signal_service_type(server), "selector": _serving(server), "ports": [port]}
    return _service(server, child_name(server), spec, server.spec.signal.service)


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
            {"hosts": [ingress.host], "secretName": _secret_name(ingress.tls, signal_certificate_name(server))}
        ]
    manifest = child(server, COMPONENT_SERVER, "Ingress", "networking.k8s.io/v1", child_name(server), spec=spec)
    return _annotated(manifest, ingress.annotations)


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
    return _annotated(manifest, gateway.annotations)


# --- Media ------------------------------------------------------------------------------------------------------------


def build_slot_service(server: LiveKitServer, slot: int, current: Manifest | None) -> Manifest | None:
    """Return the Service that leads media to the server of a slot and no other; None on the host network.

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
    through both (k8s.io/endpointslice utils.go podToEndpoint). It leads nobody to a server that is not ready yet:
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
        # Keeps clients' addresses, and takes no detour over a node that the server is not on.
        "externalTrafficPolicy": "Local",
        "publishNotReadyAddresses": True,
    }
    return _service(server, slot_name(server, slot), spec, media.load_balancer or ServiceSettings())


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
    return _load_balancer_address(service)


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
            "NodePortsExhausted",
            f"{slot_name(server, slot)} needs node ports {first}-{last}, but media.nodePorts ends with {given.end}. "
            f"{replicas} server(s) and as many that drain need {2 * replicas * len(names)} ports: "
            f"{given.start}-{given.start + 2 * replicas * len(names) - 1}. Set spec.media.nodePorts so.",
        )
    return {name: first + index for index, name in enumerate(names)}


# --- TURN over TLS, certificates --------------------------------------------------------------------------------------


def build_turn_service(server: LiveKitServer) -> Manifest | None:
    """Return the Service that leads port 443 of the TURN domain to the servers, None when none is asked for."""
    tls = server.spec.turn and server.spec.turn.tls
    if not tls or tls.service is None:
        return None
    port = {"name": "turn-tls", "port": TURN_TLS_PUBLIC_PORT, "targetPort": "turn-tls", "protocol": "TCP"}
    spec = {"type": "LoadBalancer", "selector": _serving(server), "ports": [port]}
    return _service(server, f"{child_name(server)}-turn", spec, tls.service)


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
    return _secret_name(tls.certificate, turn_certificate_name(server)) if tls and tls.certificate else None


def signal_certificate_name(server: LiveKitServer) -> str:
    """Return the name of the Certificate of the signalling, and of its Secret, where cert-manager is to make one."""
    return f"{server.metadata.name}-signal-tls"


def turn_certificate_name(server: LiveKitServer) -> str:
    """Return the name of the Certificate of TURN, and of its Secret, where cert-manager is to make one."""
    return f"{server.metadata.name}-turn-tls"


def _secret_name(tls: Tls, requested: str) -> str:
    return tls.secret_name or requested


# --- Policies and identity --------------------------------------------------------------------------------------------


def build_network_policies(
    server: LiveKitServer, operator_namespace: str, ports: Mapping[int, SlotPorts]
) -> list[Manifest]:
    """Return the policies by which nothing but the server's own ports is reached; `ports` is slot -> its ports.

    One is for what all servers have, and one for each slot for its media. What leaves is left alone: media goes to
    wherever clients are. Policies do not hold for pods on the host network, which therefore have none.
    Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
    """
    if server.spec.media.exposure == "HostNetwork":
        return []
    turn, prometheus = server.spec.turn, server.spec.prometheus
    # Names, not numbers: servers of an older configuration stay reachable while they drain.
    public = ["signal", "turn-tls"] if turn and turn.tls else ["signal"]
    rules: list[dict[str, Any]] = [{"ports": [{"protocol": "TCP", "port": name} for name in public]}]
    if prometheus or is_shared(server):  # servers that share rooms have metrics unasked, for the operator
        everybody = prometheus and not prometheus.allowed_namespaces
        names = sorted({operator_namespace, *(prometheus.allowed_namespaces if prometheus else ())})
        only = {"matchExpressions": [{"key": _LABEL_NAMESPACE, "operator": "In", "values": names}]}
        namespaces = {"namespaceSelector": {} if everybody else only}
        rules.append({"ports": [{"protocol": "TCP", "port": "metrics"}], "from": [namespaces]})
    return [
        _ingress_policy(server, child_name(server), selector(server, COMPONENT_SERVER), rules),
        *(
            _ingress_policy(
                server,
                slot_name(server, slot),
                {**selector(server, COMPONENT_SERVER), LABEL_SLOT: str(slot)},
                [{"ports": _policy_ports(ports[slot])}],
            )
            for slot in sorted(ports)
        ),
    ]


def _ingress_policy(server: LiveKitServer, name: str, pods: Mapping[str, str], rules: list[dict[str, Any]]) -> Manifest:
    spec = {"podSelector": {"matchLabels": dict(pods)}, "policyTypes": ["Ingress"], "ingress": rules}
    return child(server, COMPONENT_SERVER, "NetworkPolicy", "networking.k8s.io/v1", name, spec=spec)


def _policy_ports(ports: SlotPorts) -> list[dict[str, Any]]:
    start, end = ports.udp
    media = {"protocol": "UDP", "port": start, **({"endPort": end} if end > start else {})}
    turn = [{"protocol": "UDP", "port": ports.turn_udp}] if ports.turn_udp else []
    tcp = [{"protocol": "TCP", "port": ports.tcp}] if ports.tcp else []
    return [media, *tcp, *turn]


def build_disruption_budget(server: LiveKitServer) -> Manifest | None:
    """Return the budget by which a drained node does not end calls; None when no servers are wanted.

    A single server is not evicted at all: the operator moves it off a cordoned node when its rooms are empty. Of
    several one may go at a time, and drains. It counts pods that have ever been led clients to, whatever the label's
    value is now: one that stands by has no calls. Draining pods need no budget, for an eviction of a Terminating pod
    asks none (pkg/registry/core/pod/storage/eviction.go canIgnorePDB) and leaves its time to drain alone; nor do they
    count as available, so nothing else is evicted meanwhile.

    maxUnavailable is counted from spec.replicas by the scale subresource of LiveKitServer, which owns the pods
    (https://kubernetes.io/docs/tasks/run-application/configure-pdb/#arbitrary-controllers-and-selectors).
    """
    if server.spec.replicas == 0:
        return None
    spec = {
        "maxUnavailable": 1 if is_shared(server) and server.spec.replicas > 1 else 0,
        "selector": {
            "matchLabels": selector(server, COMPONENT_SERVER),
            "matchExpressions": [{"key": LABEL_SERVING, "operator": "Exists"}],
        },
        # A server that cannot serve must not hold up a node for ever.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return child(server, COMPONENT_SERVER, "PodDisruptionBudget", "policy/v1", child_name(server), spec=spec)


def build_service_account(server: LiveKitServer) -> Manifest:
    """Return the ServiceAccount of the servers' pods, which never talk to Kubernetes."""
    return child(
        server, COMPONENT_SERVER, "ServiceAccount", "v1", child_name(server), automountServiceAccountToken=False
    )


# --- URLs and the firewall list ---------------------------------------------------------------------------------------


def internal_url(server: LiveKitServer) -> str:
    """Return the URL for pods in the cluster."""
    return f"ws://{child_name(server)}.{server.metadata.namespace}.svc:{signal_service_port(server)}"


def lacks_external_url(server: LiveKitServer) -> bool:
    """Return whether nothing of the spec can ever tell a URL for clients."""
    signal = server.spec.signal
    named = signal.external_url or signal.ingress or signal.gateway
    return not named and signal_service_type(server) == "ClusterIP" and server.spec.media.exposure != "HostNetwork"


def external_url(server: LiveKitServer, *, node_address: str | None, signal_service: Manifest | None) -> str | None:
    """Return the URL for clients: the one asked for, else by what leads to the signalling; None while unknown."""
    signal = server.spec.signal
    if signal.external_url:
        return signal.external_url
    if signal.ingress:
        return _url(signal.ingress.host, None, secure=signal.ingress.tls is not None)
    if signal.gateway:
        return _url(signal.gateway.host, signal.gateway.parent_refs[0].port, secure=signal.gateway.tls)
    service_type = signal_service_type(server)
    if service_type == "LoadBalancer":
        address = _load_balancer_address(signal_service)
        return _url(address, signal_service_port(server)) if address else None
    if node_address and server.spec.media.exposure == "HostNetwork":
        return _url(node_address, signal.port)
    port = _signal_node_port(signal_service) if service_type == "NodePort" else None
    return _url(node_address, port) if node_address and port else None


def firewall(
    server: LiveKitServer, ports: Mapping[int, SlotPorts], *, signal_service: Manifest | None = None
) -> list[dict[str, Any]]:
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

    def as_status(self) -> dict[str, Any]:
        port = ServerPort(
            name=self.name,
            protocol=self.protocol,
            port=self.start,
            end_port=self.end if self.end > self.start else None,
            needed_by=self.needed_by,
        )
        return port.model_dump(by_alias=True, exclude_none=True)


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


# --- Services ---------------------------------------------------------------------------------------------------------


def _serving(server: LiveKitServer) -> dict[str, str]:
    return {**selector(server, COMPONENT_SERVER), LABEL_SERVING: "true"}


def _service(server: LiveKitServer, name: str, spec: dict[str, Any], settings: ServiceSettings) -> Manifest:
    """Return a Service with the user's settings; the API server takes some of them only for LoadBalancer."""
    if spec["type"] == "LoadBalancer":
        if settings.load_balancer_class:
            spec = {**spec, "loadBalancerClass": settings.load_balancer_class}
        if settings.source_ranges:
            spec = {**spec, "loadBalancerSourceRanges": list(settings.source_ranges)}
    return _annotated(child(server, COMPONENT_SERVER, "Service", "v1", name, spec=spec), settings.annotations)


def _annotated(manifest: Manifest, annotations: Mapping[str, str]) -> Manifest:
    if annotations:
        manifest["metadata"]["annotations"] = dict(annotations)
    return manifest


def has_address(service: Manifest) -> bool:
    """Return whether a Service has got the address of a load balancer."""
    return _load_balancer_address(service) is not None


def _load_balancer_address(service: Manifest | None) -> str | None:
    """Return the IP of a load balancer, its host name when it has no IP, None while it has neither."""
    points = (service or {}).get("status", {}).get("loadBalancer", {}).get("ingress") or []
    found = next((p["ip"] for p in points if p.get("ip")), None) or next(
        (p["hostname"] for p in points if p.get("hostname")), None
    )
    return str(found) if found else None


def _signal_node_port(service: Manifest | None) -> int | None:
    ports = (service or {}).get("spec", {}).get("ports") or ()
    return next((int(p["nodePort"]) for p in ports if p.get("name") == "signal" and p.get("nodePort")), None)
