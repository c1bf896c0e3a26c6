"""The rest of a LiveKitServer's configuration: rooms, limits, placement, jobs, webhooks, logs, metrics."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.bounds import Bounded
from livekit_operator.api.common import NamespaceName, Port, SecretRef

ExtraConfig = Annotated[
    dict[str, Any],
    Field(max_length=64, json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    Bounded,
]
Milliseconds = Annotated[int, Field(ge=0, le=60000)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=2147483647)]


class Codec(ApiModel):
    """A codec that rooms may use."""

    mime: Annotated[str, Field(max_length=64, pattern=r"^(audio|video)/[-.+A-Za-z0-9]+$")] = Field(
        description="MIME type, such as `audio/opus`."
    )
    fmtp_line: Annotated[str, Field(max_length=256)] | None = Field(default=None, description="Format parameters.")


class PlayoutDelay(ApiModel):
    """How long clients buffer video, in milliseconds."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(rule("self.minMs <= self.maxMs", "minMs must not be above maxMs", ".minMs"))
    )

    min_ms: Milliseconds = Field(description="At least.")
    max_ms: Milliseconds = Field(description="At most.")


class RoomDefaults(ApiModel):
    """What rooms are like unless they say otherwise."""

    auto_create: bool = Field(
        default=True,
        description="Whether joining makes a room. When off, only rooms that somebody declared can be joined.",
    )
    empty_timeout_seconds: Annotated[int, Field(ge=1, le=31536000)] = Field(
        default=300, description="How long a room stays open before anybody joins."
    )
    departure_timeout_seconds: Annotated[int, Field(ge=1, le=31536000)] = Field(
        default=20, description="How long a room stays open after everybody left."
    )
    max_participants: Count = Field(default=0, description="How many may be in a room; 0 is no limit.")
    enabled_codecs: list[Codec] = Field(
        default_factory=list, description="Codecs; the server's own choice when left out.", max_length=32
    )
    enable_remote_unmute: bool = Field(default=False, description="Whether moderators may unmute others.")
    playout_delay: PlayoutDelay | None = Field(default=None, description="How long clients buffer video.")
    sync_streams: bool = Field(default=False, description="Whether a participant's tracks are played in step.")


class Limits(ApiModel):
    """Limits of one server and of its participants; the server's own when left out."""

    tracks: Count | None = Field(default=None, description="Tracks on one server before it takes no new rooms.")
    bytes_per_second: Count | None = Field(default=None, description="Bytes a second, in and out, likewise.")
    video_subscriptions: Count | None = Field(default=None, description="Video tracks one participant may receive.")
    audio_subscriptions: Count | None = Field(default=None, description="Audio tracks one participant may receive.")
    metadata_bytes: Count | None = Field(default=None, description="Size of metadata.")
    attributes_bytes: Count | None = Field(default=None, description="Size of a participant's attributes.")
    room_name_length: Count | None = Field(default=None, description="Length of room names.")
    identity_length: Count | None = Field(default=None, description="Length of identities.")
    participant_name_length: Count | None = Field(default=None, description="Length of participants' names.")


class Region(ApiModel):
    """A place where servers are."""

    name: Annotated[str, Field(min_length=1, max_length=128)] = Field(description="As in `region` of its servers.")
    latitude: Annotated[float, Field(ge=-90, le=90)] = Field(description="In degrees.")
    longitude: Annotated[float, Field(ge=-180, le=180)] = Field(description="In degrees.")


class NodeSelection(ApiModel):
    """Which of several servers gets a new room (LiveKit calls servers nodes)."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "self.kind != 'regionaware' || (has(self.regions) && self.regions.size() > 0)",
                "regionaware needs regions",
                ".regions",
            )
        )
    )

    kind: Literal["any", "cpuload", "sysload", "regionaware"] = Field(
        default="any", description="What makes a server a candidate."
    )
    sort_by: Literal["random", "sysload", "cpuload", "rooms", "clients", "tracks", "bytespersec"] = Field(
        default="random", description="Which candidate is taken."
    )
    algorithm: Literal["lowest", "twochoice"] = Field(
        default="lowest", description="`lowest` of all, or the lower of two random ones."
    )
    cpu_load_limit: Share = Field(default=0.9, description="CPU load above which a server is no candidate.")
    sysload_limit: Annotated[float, Field(ge=0, le=1024)] = Field(
        default=0.9, description="Load average for each CPU above which a server is no candidate."
    )
    regions: list[Region] = Field(default_factory=list, description="Where the regions are.", max_length=64)


class Agents(ApiModel):
    """How jobs are given to agents."""

    target_load: Annotated[float, Field(ge=0.01, le=10)] | None = Field(
        default=None,
        description="Workers at or above this load get no jobs. Never below what the pools of this server need, 1.0, "
        "which is also what is used when left out.",
    )


WebhookEvent = Literal[
    "room_started",
    "room_finished",
    "participant_joined",
    "participant_left",
    "participant_connection_aborted",
    "track_published",
    "track_unpublished",
    "egress_started",
    "egress_updated",
    "egress_ended",
    "ingress_started",
    "ingress_ended",
]


class Webhooks(ApiModel):
    """Who hears of what happens in rooms."""

    urls: list[Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\x00-\x20@]+$")]] = Field(
        default_factory=list,
        description="URLs to post events to, signed with the API key in use. Credentials do not belong into them.",
        max_length=32,
    )
    exclude_events: list[WebhookEvent] = Field(
        default_factory=list, description="Events that are not sent.", max_length=32
    )


class Logging(ApiModel):
    """What the server logs."""

    level: Literal["debug", "info", "warn", "error"] = Field(default="info", description="Lowest level logged.")
    pion_level: Literal["debug", "info", "warn", "error"] = Field(
        default="error", description="The same for the WebRTC library."
    )
    json_format: bool = Field(default=True, alias="json", description="Whether lines are JSON objects.")


class Prometheus(ApiModel):
    """The server's metrics."""

    port: Port = Field(default=6789, description="Port of `/metrics`.")
    credentials_secret_ref: SecretRef | None = Field(
        default=None, description="A Secret with `username` and `password` that scrapers must show."
    )
    allowed_namespaces: list[NamespaceName] = Field(
        default_factory=list,
        description="Namespaces that may reach the port beside the operator's own; all when left out.",
        max_length=64,
    )
