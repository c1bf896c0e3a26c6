"""MeetingRoom: a room on a LiveKit server, the tokens to enter it, and the agents that serve it."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import ObjectRef, Resource, Status
from livekit_operator.api.server.config import PlayoutDelay
from livekit_operator.api.tokens import (
    NO_CONTROL_CHARACTERS,
    AgentDispatch,
    Attributes,
    GenerateTokens,
    Metadata,
    Moment,
    Seconds,
    Token,
    TokenStatus,
)
from livekit_operator.constants import CONDITION_AGENTS_READY

RoomKind = Literal["Meeting", "LiveStream", "VoiceAgent"]
DispatchPolicy = Literal["OnCreate", "OnFirstParticipant", "Never"]
RestartPolicy = Literal["Always", "OnFailure", "Never"]


class RoomAgent(ApiModel):
    """A pool that serves the room."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "self.dispatch != 'Never' || (!has(self.metadata) && (!has(self.attributes) || size(self.attributes) "
                "== 0))",
                "metadata and attributes are for an agent that the operator calls",
                ".dispatch",
            )
        )
    )

    pool_ref: ObjectRef = Field(description="The VoiceAgentPool that serves the room.")
    dispatch: DispatchPolicy = Field(
        default="OnFirstParticipant",
        description="When an agent is called: when the room is created, where it waits and takes a session all that "
        "time, or when somebody joins. `Never`: only your app calls one, by the agent name in the status.",
    )
    restart: RestartPolicy = Field(
        default="OnFailure",
        description="When another agent is called into a call that goes on without one. `OnFailure`: when the agent "
        "failed or its worker was lost, not when it left on purpose. `Always`: then as well. `Never`: not at all.",
    )
    metadata: str | None = Field(default=None, description="Text handed to the agent with its job.", max_length=65536)
    attributes: Attributes = Field(default_factory=dict, description="Attributes handed to the agent with its job.")


class MeetingRoomSpec(ApiModel):
    """The desired room."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule("self.serverRef == oldSelf.serverRef", "serverRef cannot change; make another room", ".serverRef"),
            rule(
                "has(self.roomName) == has(oldSelf.roomName) "
                "&& (!has(self.roomName) || self.roomName == oldSelf.roomName)",
                "roomName cannot change; make another room",
                ".roomName",
            ),
            rule(
                "!has(self.tokens) || self.tokens.filter(t, has(t.secretName)).all(t, "
                "self.tokens.exists_one(o, has(o.secretName) && o.secretName == t.secretName))",
                "two tokens must not share a Secret",
                ".tokens",
            ),
            rule(
                "!has(self.generateTokens) || !has(self.tokens) || self.tokens.all(t, "
                "!t.identity.startsWith(self.generateTokens.identityPrefix) "
                "|| !t.identity.substring(size(self.generateTokens.identityPrefix)).matches('^[0-9]+$'))",
                "an identity of tokens must not be one that generateTokens makes",
                ".tokens",
            ),
            rule(
                "!has(self.expiresAt) || !has(self.tokens) || self.tokens.all(t, "
                "!has(t.notBefore) || t.notBefore < self.expiresAt)",
                "a token must begin to be valid before the room ends",
                ".tokens",
            ),
            rule(
                "!has(self.expiresAt) || !has(self.generateTokens) || !has(self.generateTokens.notBefore) "
                "|| self.generateTokens.notBefore < self.expiresAt",
                "tokens must begin to be valid before the room ends",
                ".generateTokens",
            ),
        )
    )

    server_ref: ObjectRef = Field(description="The LiveKitServer that holds the room.")
    room_name: str | None = Field(
        default=None,
        description="Name of the room on the server; the resource's own name when left out. On a server of another "
        "namespace it begins with `<namespace>/`.",
        min_length=1,
        max_length=256,
        pattern=NO_CONTROL_CHARACTERS,
    )
    kind: RoomKind = Field(
        default="Meeting",
        description="What is usual for the room, where other fields say nothing. `Meeting`: Participants and Guests, "
        "ten at most. `LiveStream`: Viewers, without a limit. `VoiceAgent`: a Meeting served by the one VoiceAgentPool "
        "of this namespace and server.",
    )
    max_participants: int | None = Field(
        default=None,
        description="Participants at most, agents not counted; 10 when left out, no limit in a `LiveStream`. "
        "0 leaves it to the server's `room.maxParticipants`.",
        ge=0,
        le=100000,
    )
    persistent: bool = Field(
        default=True,
        description="Whether the room is re-created when the server closed or lost it. Otherwise this resource is "
        "deleted then, and its tokens with it.",
    )
    ttl_seconds_after_empty: Annotated[int, Field(ge=0, le=31536000)] | None = Field(
        default=None,
        description="Seconds without a participant, since the room was made or the last one left, after which the room "
        "is closed and this resource deleted.",
    )
    expires_at: Moment | None = Field(
        default=None, description="When the room is closed and this resource deleted. No token outlives it."
    )
    empty_timeout_seconds: Seconds | None = Field(
        default=None,
        description="Seconds after which the server closes a room that nobody joined. When left out a persistent room "
        "stays open, and any other has what the preset or the server says.",
    )
    departure_timeout_seconds: Seconds | None = Field(
        default=None,
        description="Seconds after which the server closes a room that everybody left. When left out, as above.",
    )
    metadata: Metadata | None = Field(
        default=None, description="Text that every participant sees; left to apps when left out."
    )
    playout_delay: PlayoutDelay | None = Field(
        default=None, description="How long clients buffer video; as the server says when left out."
    )
    sync_streams: bool | None = Field(
        default=None, description="Whether a participant's tracks are played in step; as the server says when left out."
    )
    preset: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="Name of one of the server's room configurations (`extraConfig.room.room_configurations`), which "
        "says what is left out here.",
    )
    adopt: bool = Field(
        default=False,
        description="Whether to take over a room of this name that the server has already. It is deleted with this "
        "resource then.",
    )
    agents: list[RoomAgent] = Field(
        default_factory=list,
        description="Pools that serve the room.",
        max_length=8,
        json_schema_extra=schema_extra(
            rule("self.all(a, self.exists_one(b, b.poolRef == a.poolRef))", "a pool may serve the room only once"),
            **{"x-kubernetes-list-type": "atomic"},
        ),
    )
    agent_dispatches: list[AgentDispatch] = Field(
        default_factory=list,
        description="Agents that no VoiceAgentPool runs: the server asks for each once, when it makes the room, and "
        "nobody watches over them.",
        max_length=8,
    )
    tokens: list[Token] = Field(
        default_factory=list,
        description="Identities that may enter; each gets a Secret.",
        max_length=100,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["identity"]},
    )
    generate_tokens: GenerateTokens | None = Field(
        default=None,
        description="Tokens for many, each with a Secret: Guests, or Viewers of a `LiveStream`, when no role is named.",
    )


class RoomAgentStatus(ApiModel):
    """One pool of the room."""

    pool: str = Field(description="The pool, with its namespace where it is another.")
    agent_name: str = Field(description="Name that dispatches ask for.")
    state: str = Field(
        description="`Waiting` for a participant, or with `Never` to be called by others; `Dispatched`, `Joined`, "
        "`Finished` when it left on purpose, `Failing` when it failed and is called again after a pause, `Paused` "
        "when it left too soon with `restart: Always` and is called again after a pause, `Failed` when it failed and "
        "is not, or `Unavailable`, with the reason in `AgentsReady`."
    )
    left_at: str | None = Field(
        default=None,
        description="When it left, where it is `Finished` or `Failed`.",
        json_schema_extra={"format": "date-time"},
    )
    activity: str | None = Field(
        default=None,
        description="What the agent was doing in the last pass: `initializing`, `listening`, `thinking` or `speaking`.",
    )


class MeetingRoomStatus(Status):
    """The observed room."""

    read: ClassVar[tuple[str, ...]] = (
        "sid",
        "settingsHash",
        "emptySince",
        "lastHandledRecreate",
        "lastHandledCall",
        "agents",
    )

    room_name: str | None = Field(default=None, description="Name of the room on the server.")
    sid: str | None = Field(default=None, description="The server's id of the room; a new one when it was made anew.")
    settings_hash: str | None = Field(
        default=None, description="Digest of what the room was made with; the server tells only some of it."
    )
    participants: int | None = Field(default=None, description="Participants in the room, agents not counted.")
    participant_identities: list[str] = Field(
        default_factory=list, description="Who they are: the first 20 by identity, agents left out."
    )
    empty_since: str | None = Field(
        default=None,
        description="Since when nobody is in the room, where `ttlSecondsAfterEmpty` counts it.",
        json_schema_extra={"format": "date-time"},
    )
    last_handled_recreate: str | None = Field(
        default=None, description="Value of the annotation `livekit-operator.dev/recreate` last acted upon."
    )
    last_handled_call: str | None = Field(
        default=None, description="Value of the annotation `livekit-operator.dev/call-agents` last acted upon."
    )
    agents: list[RoomAgentStatus] = Field(default_factory=list, description="Agents and their state.")
    agents_joined: int | None = Field(default=None, description="Agents in the room.")
    tokens: list[TokenStatus] = Field(default_factory=list, description="Token Secrets and when their tokens expire.")


class MeetingRoom(Resource):
    """A LiveKit room with its tokens and agents."""

    spec: MeetingRoomSpec

    @property
    def last(self) -> MeetingRoomStatus:
        """Return the status last written, as far as passes read it."""
        return self._read(MeetingRoomStatus)

    @property
    def standing(self) -> tuple[str, ...]:
        """Return the conditions that its status always has, beside `Ready`."""
        spec = getattr(self, "spec", None)  # one that is not understood has none
        return (CONDITION_AGENTS_READY,) if spec is None or spec.agents else ()
