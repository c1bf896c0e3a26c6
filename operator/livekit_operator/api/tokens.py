"""Access tokens of a MeetingRoom: who may enter, what they may do, and the Secrets that hold their tokens."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import ObjectName, SecretKeyName
from livekit_operator.api.server.config import Count, PlayoutDelay

Role = Literal["Participant", "Broadcaster", "Viewer", "Guest", "Agent", "Moderator"]
TrackSource = Literal["camera", "microphone", "screen_share", "screen_share_audio"]

NO_CONTROL_CHARACTERS = r"^[^\x00-\x1f\x7f]+$"
Seconds = Annotated[int, Field(ge=1, le=31536000)]
# The API server reads it too and refuses a thirteenth month; the pattern wants the time zone said.
Moment = Annotated[
    str,
    Field(
        max_length=40,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$",
        json_schema_extra={"format": "date-time"},
    ),
]
Identity = Annotated[str, Field(min_length=1, max_length=256, pattern=NO_CONTROL_CHARACTERS)]
AgentName = Annotated[str, Field(min_length=1, max_length=256, pattern=NO_CONTROL_CHARACTERS)]
Metadata = Annotated[str, Field(max_length=65536)]
Attributes = Annotated[dict[str, Annotated[str, Field(max_length=16384)]], Field(max_length=64)]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]

# The values that a token Secret can have; `token` is what it is for.
_KEY_FIELDS = ("url", "internalUrl", "token", "room", "identity", "expiresAt")
# One text for each value, a different one for each that is left out: no key has a space.
_KEY_NAMES = ", ".join(f"has(self.{name}) ? self.{name} : ' {name}'" for name in _KEY_FIELDS)


class AgentDispatch(ApiModel):
    """An agent that the server itself asks for when it makes a room, once."""

    agent_name: AgentName = Field(description="Name that the agent's workers registered with.")
    metadata: Metadata | None = Field(default=None, description="Text handed to the agent with its job.")
    attributes: Attributes = Field(default_factory=dict, description="Attributes handed to the agent with its job.")
    deployment: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Workers of this deployment; of those that registered without one when left out."
    )


class Grants(ApiModel):
    """What a token permits, field by field (LiveKit's VideoGrant); what is left out is as the role has it.

    Source: livekit/protocol auth/grants.go
    """

    can_publish: bool | None = Field(default=None, description="Publish tracks.")
    can_publish_sources: list[TrackSource] | None = Field(
        default=None, description="Publish only tracks of these sources.", max_length=4
    )
    can_subscribe: bool | None = Field(default=None, description="Receive tracks.")
    can_publish_data: bool | None = Field(default=None, description="Send data: chat, text, calls of methods.")
    can_update_own_metadata: bool | None = Field(
        default=None, description="Change one's own name, metadata and attributes."
    )
    can_subscribe_metrics: bool | None = Field(default=None, description="Receive metrics of the room.")
    can_manage_agent_session: bool | None = Field(default=None, description="Steer an agent's session.")
    hidden: bool | None = Field(default=None, description="Be in the room without being seen.")
    recorder: bool | None = Field(default=None, description="Be shown as a recorder.")
    room_join: bool | None = Field(default=None, description="Enter the room; every role may.")
    room_admin: bool | None = Field(
        default=None, description="Remove and mute others, change their permissions and the room's metadata."
    )
    destination_room: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Room to move participants to, by one who is `roomAdmin`."
    )
    room_create: bool | None = Field(default=None, description="Make and delete any room of the server.")
    room_list: bool | None = Field(default=None, description="List all rooms of the server.")
    room_record: bool | None = Field(default=None, description="Record any room of the server.")
    ingress_admin: bool | None = Field(default=None, description="Manage all ingresses of the server.")
    agent: bool | None = Field(
        default=None, description="Register as a worker, which gets jobs in any room of the server."
    )


class SipGrants(ApiModel):
    """What a token permits in telephony (LiveKit's SIPGrant)."""

    admin: bool = Field(default=False, description="Manage all trunks and dispatch rules of the server.")
    call: bool = Field(default=False, description="Call out.")


class RoomConfiguration(ApiModel):
    """What the room is made with if the holder of the token is the first: for rooms that are not persistent."""

    preset: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Name of one of the server's room configurations."
    )
    max_participants: Count | None = Field(default=None, description="Participants at most.")
    empty_timeout_seconds: Seconds | None = Field(
        default=None, description="How long it stays open before anybody joins."
    )
    departure_timeout_seconds: Seconds | None = Field(
        default=None, description="How long it stays open after everybody left."
    )
    metadata: Metadata | None = Field(default=None, description="Text that every participant sees.")
    playout_delay: PlayoutDelay | None = Field(default=None, description="How long clients buffer video.")
    sync_streams: bool | None = Field(default=None, description="Whether a participant's tracks are played in step.")
    agents: list[AgentDispatch] = Field(default_factory=list, description="Agents to ask for.", max_length=8)


class SecretKeys(ApiModel):
    """Keys of a token Secret: what is named here is in it, and nothing else."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(f"[{_KEY_NAMES}].all(a, [{_KEY_NAMES}].exists_one(b, a == b))", "two values must not share a key")
        )
    )

    token: SecretKeyName = Field(description="Key of the token.")
    url: SecretKeyName | None = Field(default=None, description="Key of the URL for clients.")
    internal_url: SecretKeyName | None = Field(default=None, description="Key of the URL for pods.")
    room: SecretKeyName | None = Field(default=None, description="Key of the room's name on the server.")
    identity: SecretKeyName | None = Field(default=None, description="Key of the identity.")
    expires_at: SecretKeyName | None = Field(default=None, description="Key of the moment the token expires.")


class SecretOptions(ApiModel):
    """How a token Secret looks."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule("!has(self.keys) || !has(self.style)", "keys are named by keys or chosen by style", ".keys")
        )
    )

    style: Literal["Keys", "Env"] | None = Field(
        default=None,
        description="`Keys`, as when left out: `url`, `internalUrl`, `token`, `room`, `identity` and `expiresAt`. "
        "`Env`, for `envFrom`: `LIVEKIT_URL`, `LIVEKIT_INTERNAL_URL`, `LIVEKIT_TOKEN`, `LIVEKIT_ROOM`, "
        "`LIVEKIT_IDENTITY` and `LIVEKIT_TOKEN_EXPIRES_AT`.",
    )
    keys: SecretKeys | None = Field(default=None, description="Keys of one's own choice instead.")
    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = Field(
        default_factory=dict, description="Labels to add to the operator's own."
    )
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = Field(
        default_factory=dict, description="Annotations to add."
    )


class TokenOptions(ApiModel):
    """What one token and many of a kind have in common."""

    role: Role | None = Field(
        default=None,
        description="What it may do. A `Participant` publishes, subscribes and sends data, and so does a "
        "`Broadcaster`; a `Viewer` only subscribes; a `Guest` publishes camera and microphone, not a screen, "
        "subscribes and sends data; an `Agent` is one of the room's agents, which do not count as participants and "
        "keep no room open; a `Moderator` is a `Participant` with `roomAdmin`. The kind of the room decides when left "
        "out.",
    )
    grants: Grants | None = Field(default=None, description="Permissions that differ from the role's.")
    sip: SipGrants | None = Field(default=None, description="Permissions in telephony.")
    metadata: Metadata | None = Field(default=None, description="Text that others see beside the participant.")
    attributes: Attributes = Field(default_factory=dict, description="Attributes of the participant.")
    room_configuration: RoomConfiguration | None = Field(
        default=None, description="What the room is created with if the holder is the first to join."
    )
    ttl_seconds: int = Field(
        default=21600,
        description="Life of each token in seconds; it is renewed after two thirds of it, or a little sooner.",
        ge=60,
        le=31536000,
    )
    not_before: Moment | None = Field(
        default=None, description="When tokens begin to be valid; their life begins then."
    )
    revoke: bool = Field(
        default=False, description="Whether the participant is removed from the room when its entry is."
    )
    secret: SecretOptions | None = Field(default=None, description="How the Secret looks.")


class Token(TokenOptions):
    """One identity that may enter, and the Secret that holds its token."""

    identity: Identity = Field(description="Identity of the participant, unique in the room.")
    name: Annotated[str, Field(max_length=256, pattern=NO_CONTROL_CHARACTERS)] | None = Field(
        default=None, description="Name that others see; the identity when left out."
    )
    secret_name: ObjectName | None = Field(
        default=None,
        description="Name of the Secret, which begins with the room's name unless the chart lists others; "
        "`<room>-<identity>` when left out.",
    )


class GenerateTokens(TokenOptions):
    """Many identities of one kind, numbered from 1."""

    count: int = Field(description="How many.", ge=1, le=500)
    identity_prefix: Annotated[str, Field(min_length=1, max_length=200, pattern=NO_CONTROL_CHARACTERS)] = Field(
        default="guest-", description="What their identities begin with, before the number."
    )


class TokenStatus(ApiModel):
    """One token Secret; never the token."""

    identity: str = Field(description="Identity of the participant.")
    secret_name: str = Field(description="Secret that holds the token.")
    expires_at: str = Field(description="When the token expires.", json_schema_extra={"format": "date-time"})
