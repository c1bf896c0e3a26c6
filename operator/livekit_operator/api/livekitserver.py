"""LiveKitServer: a media server for rooms, reachable by pods and by clients."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import AllowedNamespaces, Image, Resource, Resources, SecretRef, Status
from livekit_operator.api.pods import PodTemplate
from livekit_operator.api.server.config import (
    Agents,
    ExtraConfig,
    Limits,
    Logging,
    NodeSelection,
    Prometheus,
    RoomDefaults,
    Webhooks,
)
from livekit_operator.api.server.media import Media
from livekit_operator.api.server.redis import Redis
from livekit_operator.api.server.signal import Signal
from livekit_operator.api.server.turn import Turn
from livekit_operator.constants import CONDITION_DEGRADED, CONDITION_PROGRESSING

# The newest server release this operator is tested with.
DEFAULT_SERVER_VERSION = "v1.13.5"

_HOST_NETWORK = "self.media.exposure == 'HostNetwork'"
_TCP_PORT = "(has(self.media.tcpPort) ? self.media.tcpPort : 7881)"
_SIGNAL_PORT = "self.signal.port"
_HAS_TURN_TLS = "(has(self.turn) && has(self.turn.tls))"
# With NodePort it is a node port.
_HAS_TURN_UDP_PORT = "(has(self.turn) && self.turn.udp && self.media.exposure != 'NodePort')"
_TURN_UDP_PORT = "(has(self.turn.udpPort) ? self.turn.udpPort : 3478)"
# Unasked, with Redis, the operator takes one that is free.
_METRICS_PORT = "(has(self.prometheus) ? self.prometheus.port : 0)"
# Node ports are the ports that a server listens on. Those that the cluster chooses are not known here.
_NODE_PORTS = "(self.media.exposure == 'NodePort' && has(self.media.nodePorts))"
_NODE_PORTS_START = f"({_NODE_PORTS} ? self.media.nodePorts.start : 0)"
_NODE_PORTS_END = f"({_NODE_PORTS} ? self.media.nodePorts.end : 0)"
# The media's UDP ports, with their defaults; unknown ones stand outside every range.
_UDP_START = (
    f"(self.media.exposure == 'NodePort' ? {_NODE_PORTS_START} : !has(self.media.udp) ? "
    "(self.media.exposure == 'HostNetwork' ? 50100 : 7882) : "
    "has(self.media.udp.portRange) ? self.media.udp.portRange.start : self.media.udp.muxPorts.start)"
)
_UDP_END = (
    f"(self.media.exposure == 'NodePort' ? {_NODE_PORTS_END} : !has(self.media.udp) ? "
    "(self.media.exposure == 'HostNetwork' ? 50200 : 7882) : "
    "has(self.media.udp.portRange) ? self.media.udp.portRange.end : self.media.udp.muxPorts.end)"
)


def _outside_range(port: str) -> str:
    """Return the CEL expression that a port is not in the UDP range: firewalls and people take ranges as a whole."""
    media_range = "self.media.udp.portRange"
    return f"!has(self.media.udp) || !has({media_range}) || {port} < {media_range}.start || {port} > {media_range}.end"


def _no_node_port(port: str) -> str:
    """Return the CEL expression that a port is none of the node ports that are given."""
    return f"({port} < {_NODE_PORTS_START} || {port} > {_NODE_PORTS_END})"


class KeyRotation(ApiModel):
    """When API keys change, and how long the old one goes on working."""

    id: Annotated[str, Field(max_length=128)] = Field(
        default="",
        description="Any text; a new one has a new key generated. Not for a Secret of `keysSecretRef`: change that "
        "Secret instead.",
    )
    grace_seconds: int = Field(
        default=3600,
        description="How long the old key is accepted after pools and tokens have moved to the new one.",
        ge=0,
        le=604800,
    )


class LiveKitServerSpec(ApiModel):
    """The desired media server."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(_outside_range(_SIGNAL_PORT), "the UDP port range must not contain the signalling port", ".media.udp"),
            rule(_outside_range(_TCP_PORT), "the UDP port range must not contain the ICE/TCP port", ".media.udp"),
            rule(
                f"self.media.exposure == 'NodePort' || {_TCP_PORT} != {_SIGNAL_PORT}",
                "the ICE/TCP port must differ from the signalling port",
                ".media.tcpPort",
            ),
            rule(
                f"!{_HAS_TURN_TLS} || (self.turn.tls.port != {_SIGNAL_PORT} "
                f"&& (self.media.exposure == 'NodePort' || self.turn.tls.port != {_TCP_PORT}))",
                "the port of TURN over TLS must differ from the signalling and ICE/TCP ports",
                ".turn.tls.port",
            ),
            rule(
                f"{_METRICS_PORT} != {_SIGNAL_PORT} "
                f"&& (self.media.exposure == 'NodePort' || {_METRICS_PORT} != {_TCP_PORT}) "
                f"&& (!{_HAS_TURN_TLS} || {_METRICS_PORT} != self.turn.tls.port)",
                "the port of the metrics must differ from the signalling, ICE/TCP and TURN ports",
                ".prometheus.port",
            ),
            rule(
                f"{_no_node_port(_SIGNAL_PORT)} && (!{_HAS_TURN_TLS} || {_no_node_port('self.turn.tls.port')}) "
                f"&& ({_METRICS_PORT} == 0 || {_no_node_port(_METRICS_PORT)})",
                "nodePorts must not contain the ports of signalling, TURN over TLS and metrics: the server listens "
                "on node ports itself",
                ".media.nodePorts",
            ),
            rule(
                f"!has(self.turn) || !self.turn.udp || {_TURN_UDP_PORT} < {_UDP_START} "
                f"|| {_TURN_UDP_PORT} > {_UDP_END}",
                "the port of TURN over UDP must not be one of the media's UDP ports",
                ".turn.udpPort",
            ),
            rule(
                f"!has(self.turn) || self.turn.relayRange.end < {_UDP_START} "
                f"|| self.turn.relayRange.start > {_UDP_END}",
                "TURN's relay range must not share ports with the media's UDP ports",
                ".turn.relayRange",
            ),
            rule(
                f"!{_HAS_TURN_UDP_PORT} || {_TURN_UDP_PORT} < self.turn.relayRange.start "
                f"|| {_TURN_UDP_PORT} > self.turn.relayRange.end",
                "the port of TURN over UDP must not be one of the relay range",
                ".turn.relayRange",
            ),
            rule(
                "self.replicas <= 1 || has(self.redis)",
                "more than one replica needs redis, by which servers find each other's rooms",
                ".replicas",
            ),
            rule(
                "!has(self.signal.bindAddresses) || self.signal.bindAddresses.size() == 0 || " + _HOST_NETWORK,
                "bindAddresses is for media.exposure HostNetwork: a pod's own address is not known before it starts",
                ".signal.bindAddresses",
            ),
            # livekit-server does not start otherwise (pkg/routing/selector/regionaware.go).
            rule(
                "self.nodeSelection.kind != 'regionaware' || (has(self.region) && has(self.nodeSelection.regions) "
                "&& self.nodeSelection.regions.exists(place, place.name == self.region))",
                "regionaware needs a region, and it among nodeSelection.regions",
                ".region",
            ),
            rule(
                "!has(self.keysSecretRef) || !has(self.keyRotation) || self.keyRotation.id == ''",
                "keys of keysSecretRef are rotated by changing that Secret",
                ".keyRotation.id",
            ),
            rule(
                "!has(self.turn) || !has(self.turn.udpPort) || self.media.exposure != 'NodePort'",
                "with media.exposure NodePort the port of TURN over UDP is a node port: leave udpPort out, set udp",
                ".turn.udpPort",
            ),
        )
    )

    version: str = Field(
        default=DEFAULT_SERVER_VERSION,
        description="Version of livekit-server; the tag of its image.",
        max_length=128,
        pattern=r"^v[0-9]+\.[0-9]+\.[0-9]+[-+.0-9A-Za-z]*$",
    )
    image: Image | None = Field(
        default=None,
        description="Image to run instead of the official one of `version`, with a tag or a digest (`…@sha256:…`).",
    )
    replicas: int = Field(default=1, description="Number of servers; more than one needs `redis`.", ge=0, le=100)
    media: Media = Field(default=Media(), description="How media packets reach the server.")
    signal: Signal = Field(default=Signal(), description="How clients reach the signalling WebSocket.")
    turn: Turn | None = Field(
        default=None, description="TURN, for clients behind firewalls that let neither UDP nor ICE/TCP through."
    )
    keys_secret_ref: SecretRef | None = Field(
        default=None,
        description="A Secret with the keys `apiKey` and `apiSecret` (32 characters or more) to use. "
        "When left out, a key is generated. Either way `<name>-livekit-keys` holds the one in use.",
    )
    key_rotation: KeyRotation = Field(default=KeyRotation(), description="When API keys change.")
    redis: Redis | None = Field(default=None, description="Redis, by which several servers are one.")
    room: RoomDefaults = Field(default=RoomDefaults(), description="What rooms are like unless they say otherwise.")
    limits: Limits = Field(default=Limits(), description="Limits of one server and of its participants.")
    node_selection: NodeSelection = Field(
        default=NodeSelection(), description="Which of several servers gets a new room."
    )
    region: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="Region reported to clients and to other servers."
    )
    agents: Agents = Field(default=Agents(), description="How jobs are given to agents.")
    webhooks: Webhooks = Field(default=Webhooks(), description="Who hears of what happens in rooms.")
    logging: Logging = Field(default=Logging(), description="What the server logs.")
    prometheus: Prometheus | None = Field(default=None, description="The server's metrics.")
    extra_config: ExtraConfig = Field(
        default_factory=dict,
        description="Anything else of livekit-server's configuration file, in its own words, merged last. It can hold "
        "neither keys nor secrets nor what other fields of this resource say.",
    )
    allowed_namespaces: AllowedNamespaces = Field(
        default_factory=list,
        description="Other namespaces whose MeetingRooms may use this server; `*` means all.",
    )
    allowed_pool_namespaces: AllowedNamespaces = Field(
        default_factory=list,
        description="Other namespaces whose VoiceAgentPools may use this server, and so get its API key, with which "
        "every room of the server can be entered; `*` means all.",
    )
    drain_timeout_seconds: int = Field(
        default=3600,
        description="How long a draining server may wait for its rooms to become empty.",
        ge=0,
        le=86400,
    )
    resources: Resources = Field(default=Resources(), description="CPU and memory of the server's container.")
    pod_template: PodTemplate = Field(default=PodTemplate(), description="Overrides for the servers' pods.")


ServerState = Literal["Pending", "Starting", "Serving", "Standby", "Unreachable", "Draining", "Failed"]
KeyPhase = Literal["Stable", "Accepting", "Moving", "Dropping"]


class ServerPort(ApiModel):
    """One line of the firewall list."""

    name: str = Field(description="What the ports are for.")
    protocol: Literal["TCP", "UDP"] = Field(description="Transport protocol.")
    port: int = Field(description="First port.")
    end_port: int | None = Field(default=None, description="Last port of a range.")
    needed_by: str | None = Field(default=None, description="Who must reach the ports, and where.")


class ServerReplica(ApiModel):
    """One server."""

    name: str = Field(description="Name of its pod.")
    node: str | None = Field(default=None, description="Node it runs on.")
    address: str | None = Field(
        default=None,
        description="Address that its media is reached at; with `media.discoverExternalIp` its node's `ExternalIP`, "
        "left out where the node has none.",
    )
    state: ServerState = Field(
        description="`Standby` is ready and waits until the rooms of the one it replaces are empty; `Draining` takes "
        "no new rooms and leaves when its own are empty."
    )
    rooms: int | None = Field(default=None, description="Rooms on it.")
    participants: int | None = Field(default=None, description="Participants in them.")
    leaves_by: str | None = Field(
        default=None,
        description="When it leaves at the latest, rooms or not.",
        json_schema_extra={"format": "date-time"},
    )
    waits_for: list[str] | None = Field(
        default=None, description="Rooms that it waits for before it leaves, ten at most."
    )


class KeyStatus(ApiModel):
    """How far a rotation of keys has come."""

    phase: KeyPhase = Field(
        description="`Accepting`: servers roll to accept the new key as well. `Moving`: the new key is in use, the old "
        "one still accepted. `Dropping`: servers roll to accept only the new one."
    )
    rotation: str | None = Field(default=None, description="`keyRotation.id` of the newest generated key.")
    accepted: int = Field(description="Number of keys that servers accept.")
    old_key_dropped_at: str | None = Field(
        default=None,
        description="When the old key is no longer accepted.",
        json_schema_extra={"format": "date-time"},
    )


class LiveKitServerStatus(Status):
    """The observed media server."""

    read: ClassVar[tuple[str, ...]] = ("externalUrl", "updatedReplicas", "servers")

    version: str | None = Field(default=None, description="Version of livekit-server that is asked for.")
    replicas: int | None = Field(default=None, description="Servers that exist and are not leaving.")
    ready_replicas: int | None = Field(default=None, description="Servers that answer and take new rooms.")
    draining_replicas: int | None = Field(default=None, description="Servers that wait until their rooms are empty.")
    updated_replicas: int | None = Field(default=None, description="Servers of the current configuration.")
    internal_url: str | None = Field(default=None, description="URL for pods in the cluster.")
    external_url: str | None = Field(default=None, description="URL for clients outside the cluster.")
    keys_secret_name: str | None = Field(default=None, description="Secret that holds the API key and secret in use.")
    keys: KeyStatus | None = Field(default=None, description="Rotation of keys.")
    redis: str | None = Field(default=None, description="Which Redis is used, without its credentials.")
    ports: list[ServerPort] = Field(
        default_factory=list, description="Ports that must be reached from outside: the firewall list."
    )
    servers: list[ServerReplica] = Field(default_factory=list, description="Each server: where it is and what it does.")
    rooms: int | None = Field(default=None, description="Rooms on the servers.")
    participants: int | None = Field(default=None, description="Participants in these rooms.")
    selector: str | None = Field(default=None, description="Label selector of the servers' pods.")


class LiveKitServer(Resource):
    """A self-hosted LiveKit media server."""

    spec: LiveKitServerSpec

    @property
    def last(self) -> LiveKitServerStatus:
        """Return the status last written, as far as passes read it."""
        return self._read(LiveKitServerStatus)

    @property
    def standing(self) -> tuple[str, ...]:
        """Return the conditions that its status always has, beside `Ready`."""
        return CONDITION_PROGRESSING, CONDITION_DEGRADED
