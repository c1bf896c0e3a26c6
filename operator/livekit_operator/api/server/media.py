"""How media packets reach a LiveKitServer: exposure modes, ports, advertised addresses."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import Annotations, Port, PortRange, SecretRef

# What HostNetwork uses when `udp` says nothing.
DEFAULT_PORT_RANGE = PortRange(start=50100, end=50200)
# What LoadBalancer uses when `udp` says nothing.
DEFAULT_MUX_PORT = 7882
DEFAULT_TCP_PORT = 7881

# livekit-server leaves wrong networks of TURN out without a word, and does not start with wrong ones of media. The
# formats are Go's own parsers; CEL has them only since Kubernetes 1.31.
# Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation
Cidr = Annotated[
    str, Field(max_length=64, pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$", json_schema_extra=schema_extra(format="cidr"))
]
IpAddress = Annotated[
    str,
    Field(
        max_length=45,
        pattern=r"^[0-9a-fA-F.:]+$",
        json_schema_extra=schema_extra(oneOf=[{"format": "ipv4"}, {"format": "ipv6"}]),
    ),
]
InterfaceName = Annotated[str, Field(min_length=1, max_length=15, pattern=r"^[^\x00-\x20/]+$")]
HostPort = Annotated[
    str,
    Field(
        max_length=260,
        pattern=r"^([-_A-Za-z0-9.]+|\[[0-9a-fA-F.:]+\]):[1-9][0-9]{0,4}$",
        json_schema_extra=schema_extra(
            rule("int(self.substring(self.lastIndexOf(':') + 1)) <= 65535", "the port must not be above 65535")
        ),
    ),
]


class MediaPortRange(PortRange):
    """UDP ports for media, one or more for each participant."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(rule("self.start <= self.end", "start must not be above end", ".start"))
    )


class Udp(ApiModel):
    """Which UDP ports carry media: a range, or a few ports that all participants share."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule("has(self.portRange) != has(self.muxPorts)", "set exactly one of portRange and muxPorts")
        )
    )

    port_range: MediaPortRange | None = Field(
        default=None, description="A range with ports of their own for each participant (`rtc.port_range_start/end`)."
    )
    mux_ports: MediaPortRange | None = Field(
        default=None, description="Ports that all participants share (`rtc.udp_port`); one a core is a good number."
    )


class TurnServer(ApiModel):
    """A TURN server of somebody else's, which clients are told of with credentials that do not change."""

    host: Annotated[str, Field(max_length=253, pattern=r"^([-A-Za-z0-9.]+|[0-9a-fA-F.:]+)$", min_length=1)] = Field(
        description="Host name or address."
    )
    port: Port = Field(description="Port.")
    protocol: Literal["udp", "tcp", "tls"] = Field(default="udp", description="How clients reach it.")
    credentials_secret_ref: SecretRef = Field(
        description="A Secret with `username` and `password`, printable and without single quotes. Every "
        "client gets both."
    )


class ServiceSettings(ApiModel):
    """A Service that a cloud makes a load balancer of."""

    annotations: Annotations = Field(default_factory=dict, description="Annotations, read by the cloud's controller.")
    load_balancer_class: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="`loadBalancerClass` of the Service."
    )
    source_ranges: list[Cidr] = Field(
        default_factory=list, description="Who may reach it; everybody when left out.", max_length=64
    )


class MediaLoadBalancer(ServiceSettings):
    """The Service of each server's media, by `media.exposure` LoadBalancer."""

    ice_tcp: bool = Field(
        default=True,
        description="Whether ICE over TCP goes through it beside UDP. Some clouds make no load balancer of a Service "
        "with both; without it, clients that cannot use UDP need TURN over TLS.",
    )


class NameFilter(ApiModel):
    """Which network interfaces are used for media."""

    includes: list[InterfaceName] = Field(default_factory=list, description="Only these.", max_length=32)
    excludes: list[InterfaceName] = Field(default_factory=list, description="Not these.", max_length=32)


class CidrFilter(ApiModel):
    """Which addresses are used for media."""

    includes: list[Cidr] = Field(default_factory=list, description="Only these.", max_length=32)
    excludes: list[Cidr] = Field(default_factory=list, description="Not these.", max_length=32)


_NOT_HOST_NETWORK = "self.exposure != 'HostNetwork'"


class Media(ApiModel):
    """How media packets reach the server."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "self.exposure != 'NodePort' || (!has(self.udp) && !has(self.tcpPort))",
                "with NodePort the ports are node ports: set nodePorts or leave the choice to the cluster",
                ".udp",
            ),
            rule(
                "self.exposure == 'NodePort' || !has(self.nodePorts)",
                "nodePorts is for exposure NodePort",
                ".nodePorts",
            ),
            rule(
                "self.exposure == 'LoadBalancer' || !has(self.loadBalancer)",
                "loadBalancer is for exposure LoadBalancer",
                ".loadBalancer",
            ),
            rule(
                "!has(self.loadBalancer) || self.loadBalancer.iceTcp || !has(self.tcpPort)",
                "tcpPort is for loadBalancer.iceTcp",
                ".tcpPort",
            ),
            rule(
                "self.exposure != 'LoadBalancer' || !has(self.udp) || (has(self.udp.muxPorts) "
                "&& self.udp.muxPorts.end - self.udp.muxPorts.start < 16)",
                "with LoadBalancer set at most 16 muxPorts: each is a port of the Service",
                ".udp",
            ),
            rule(
                "!(self.discoverExternalIp && has(self.nodeIp))",
                "set at most one of discoverExternalIp and nodeIp",
                ".nodeIp",
            ),
            rule(
                "!self.advertiseInternalIp || self.discoverExternalIp",
                "advertiseInternalIp is for discoverExternalIp: livekit-server has it only for addresses that it found",
                ".advertiseInternalIp",
            ),
            # It would pick a number below the difference of the two, and panic (rtcconfig getNAT1to1IPsForConf).
            rule(
                "!self.discoverExternalIp || !has(self.udp) || !has(self.udp.portRange) "
                "|| self.udp.portRange.start < self.udp.portRange.end",
                "discoverExternalIp needs a portRange of more than one port, or muxPorts",
                ".udp",
            ),
            rule(
                "self.exposure != 'LoadBalancer' || !self.discoverExternalIp",
                "discoverExternalIp is for HostNetwork and NodePort: a load balancer's address is known",
                ".discoverExternalIp",
            ),
            rule(
                f"!({_NOT_HOST_NETWORK}) || (!has(self.interfaces) && !has(self.ips))",
                "interfaces and ips are for HostNetwork: elsewhere a pod has one of each",
                ".interfaces",
            ),
            rule(
                "!has(self.stunServers) || self.stunServers.size() == 0 || self.discoverExternalIp",
                "stunServers is for discoverExternalIp",
                ".stunServers",
            ),
        )
    )

    exposure: Literal["HostNetwork", "NodePort", "LoadBalancer"] = Field(
        default="HostNetwork",
        description="`HostNetwork`: the server's ports are ports of its node. `NodePort`: each server has a UDP and a "
        "TCP node port of its own and no privilege at all, so it runs under the `restricted` Pod Security Standard. "
        "`LoadBalancer`: each server has a load balancer of its own.",
    )
    udp: Udp | None = Field(
        default=None,
        description="UDP ports for media; 50100-50200 when left out, with LoadBalancer the one port 7882.",
    )
    tcp_port: Port | None = Field(
        default=None,
        description="Port for ICE over TCP, used by clients that cannot use UDP; 7881 when left out.",
    )
    node_ports: MediaPortRange | None = Field(
        default=None,
        description="Node ports to take, for firewalls that open a range: two for each server, three with TURN over "
        "UDP, and as many more for rollouts. They must be within the cluster's range of node ports. When left out, the "
        "cluster chooses.",
    )
    load_balancer: MediaLoadBalancer | None = Field(default=None, description="The Service of each server.")
    node_ip: IpAddress | None = Field(
        default=None,
        description="Address that is advertised to clients instead of the one found, for an address that reaches the "
        "server in a way the cluster does not know. A URL of a node has it too. Every server advertises it: several "
        "nodes with a public address each need `discoverExternalIp`.",
    )
    discover_external_ip: bool = Field(
        default=False,
        description="Have each server ask a STUN server for its node's public address and advertise it, for nodes "
        "behind a 1:1 NAT. Otherwise the node's own address is advertised.",
    )
    stun_servers: list[HostPort] = Field(
        default_factory=list, description="STUN servers asked instead of public ones, as `host:port`.", max_length=16
    )
    turn_servers: list[TurnServer] = Field(
        default_factory=list,
        description="TURN servers of others', instead of public STUN servers, with fixed credentials "
        "(`rtc.turn_servers`). One of livekit-server's own is `spec.turn`.",
        max_length=16,
    )
    advertise_internal_ip: bool = Field(
        default=False,
        description="Advertise the server's own address beside the one found, for agents and clients inside the "
        "cluster whose packets cannot turn at its edge.",
    )
    interfaces: NameFilter | None = Field(default=None, description="Network interfaces to use.")
    ips: CidrFilter | None = Field(default=None, description="Addresses to use.")
    ice_lite: bool = Field(default=False, description="Use ICE lite: faster to connect, only with a public address.")
    allow_tcp_fallback: bool = Field(
        default=True, description="Whether clients whose UDP fails are moved to ICE/TCP and TURN/TLS."
    )
