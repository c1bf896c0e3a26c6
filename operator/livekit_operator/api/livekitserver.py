"""LiveKitServer: a media server for rooms, reachable by pods and by clients."""

from typing import Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import (
    NamespaceName,
    Port,
    PortRange,
    Resource,
    Resources,
    SecretRef,
    Status,
)

# The newest server release this operator is tested with.
DEFAULT_SERVER_VERSION = "v1.13.5"
DEFAULT_PORT_RANGE = PortRange(start=50100, end=50200)


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


class Media(ApiModel):
    """How media packets reach the server."""

    exposure: Literal["HostNetwork"] = Field(
        default="HostNetwork", description="`HostNetwork`: the server's ports are ports of its node."
    )
    udp: Udp = Field(
        default=Udp(port_range=MediaPortRange(start=DEFAULT_PORT_RANGE.start, end=DEFAULT_PORT_RANGE.end)),
        description="UDP ports for media.",
    )
    tcp_port: Port = Field(default=7881, description="Port for ICE over TCP, used by clients that cannot use UDP.")
    discover_external_ip: bool = Field(
        default=False,
        description="Ask a STUN server for the node's public address and advertise it, for nodes behind a 1:1 NAT. "
        "Otherwise the node's own address is advertised.",
    )


class Signal(ApiModel):
    """How clients reach the signalling WebSocket."""

    port: Port = Field(default=7880, description="Port of the signalling WebSocket and of the server's HTTP API.")
    external_url: str | None = Field(
        default=None,
        description="URL that clients outside the cluster use, normally `wss://…`; it goes into every token Secret. "
        "When left out it is `ws://` with the address of the node the server runs on, which is for trying out: "
        "browsers want `wss://`.",
        max_length=2048,
        pattern=r"^wss?://[^\x00-\x20/?#]+",
    )


class Logging(ApiModel):
    """What the server logs."""

    level: Literal["debug", "info", "warn", "error"] = Field(default="info", description="Lowest level logged.")


class LiveKitServerSpec(ApiModel):
    """The desired media server."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "!has(self.media.udp.portRange) || self.signal.port < self.media.udp.portRange.start "
                "|| self.signal.port > self.media.udp.portRange.end",
                "the UDP port range must not contain the signalling port",
                ".media.udp.portRange",
            ),
            rule(
                "!has(self.media.udp.portRange) || self.media.tcpPort < self.media.udp.portRange.start "
                "|| self.media.tcpPort > self.media.udp.portRange.end",
                "the UDP port range must not contain the ICE/TCP port",
                ".media.udp.portRange",
            ),
            rule(
                "self.media.tcpPort != self.signal.port",
                "the ICE/TCP port must differ from the signalling port",
                ".media.tcpPort",
            ),
        )
    )

    version: str = Field(
        default=DEFAULT_SERVER_VERSION,
        description="Version of livekit-server; the tag of its image.",
        max_length=128,
        pattern=r"^v[0-9]+\.[0-9]+\.[0-9]+[-+.0-9A-Za-z]*$",
    )
    image: str | None = Field(
        default=None, description="Image to run instead of the official one of `version`.", min_length=1
    )
    replicas: int = Field(
        default=1, description="Number of servers; more than one needs Redis, not offered yet.", ge=0, le=1
    )
    media: Media = Field(default=Media(), description="How media packets reach the server.")
    signal: Signal = Field(default=Signal(), description="How clients reach the signalling WebSocket.")
    keys_secret_ref: SecretRef | None = Field(
        default=None,
        description="A Secret with the keys `apiKey` and `apiSecret` (32 characters or more) to use. "
        "When left out, `<name>-keys` is generated.",
    )
    region: str | None = Field(
        default=None, description="Region reported to clients and to other servers.", min_length=1
    )
    logging: Logging = Field(default=Logging(), description="What the server logs.")
    allowed_namespaces: list[NamespaceName | Literal["*"]] = Field(
        default_factory=list,
        description="Other namespaces whose pools and rooms may use this server; `*` means all.",
        max_length=256,
        json_schema_extra={
            "items": {"type": "string", "maxLength": 63, "pattern": r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"},
            "x-kubernetes-list-type": "set",
        },
    )
    drain_timeout_seconds: int = Field(
        default=3600,
        description="How long a server that is told to leave may wait for its rooms to become empty.",
        ge=0,
        le=86400,
    )
    resources: Resources = Field(default=Resources(), description="CPU and memory of the server's container.")


class ServerPort(ApiModel):
    """One line of the firewall list."""

    name: str = Field(description="What the ports are for.")
    protocol: Literal["TCP", "UDP"] = Field(description="Transport protocol.")
    port: int = Field(description="First port.")
    end_port: int | None = Field(default=None, description="Last port of a range.")


class LiveKitServerStatus(Status):
    """The observed media server."""

    version: str | None = Field(default=None, description="Version of livekit-server that is asked for.")
    replicas: int | None = Field(default=None, description="Servers that exist.")
    ready_replicas: int | None = Field(default=None, description="Servers that answer.")
    internal_url: str | None = Field(default=None, description="URL for pods in the cluster.")
    external_url: str | None = Field(default=None, description="URL for clients outside the cluster.")
    keys_secret_name: str | None = Field(default=None, description="Secret that holds the API key and secret.")
    ports: list[ServerPort] = Field(
        default_factory=list, description="Ports that clients must reach on the nodes: the firewall list."
    )
    rooms: int | None = Field(default=None, description="Rooms on the server.")
    participants: int | None = Field(default=None, description="Participants in these rooms.")


class LiveKitServer(Resource):
    """A self-hosted LiveKit media server."""

    spec: LiveKitServerSpec
