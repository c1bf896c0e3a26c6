"""MeetingRoom: a room on a LiveKit server, the tokens to enter it, and the agents that serve it."""

from typing import Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import ObjectName, ObjectRef, Resource, Status

Role = Literal["Participant", "Broadcaster", "Viewer"]
DispatchPolicy = Literal["OnCreate", "OnFirstParticipant"]


class RoomAgent(ApiModel):
    """A pool that serves the room."""

    pool_ref: ObjectRef = Field(description="The VoiceAgentPool that serves the room.")
    dispatch: DispatchPolicy = Field(
        default="OnFirstParticipant",
        description="When an agent is called: when the room is created, where it waits and takes a session all that "
        "time, or when somebody joins.",
    )
    metadata: str | None = Field(default=None, description="Text handed to the agent with its job.", max_length=65536)


class Token(ApiModel):
    """One identity that may enter, and the Secret that holds its token."""

    identity: str = Field(
        description="Identity of the participant, unique in the room.",
        min_length=1,
        max_length=256,
        pattern=r"^[^\x00-\x1f\x7f]+$",
    )
    role: Role = Field(
        default="Participant",
        description="What it may do: a Participant publishes and subscribes, a Broadcaster publishes, subscribes and "
        "sends data, a Viewer only subscribes.",
    )
    ttl_seconds: int = Field(
        default=21600,
        description="Life of each token in seconds; it is renewed after two thirds of it.",
        ge=60,
        le=31536000,
    )
    secret_name: ObjectName | None = Field(
        default=None, description="Name of the Secret; `<room>-<identity>` when left out."
    )


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
        )
    )

    server_ref: ObjectRef = Field(description="The LiveKitServer that holds the room.")
    room_name: str | None = Field(
        default=None,
        description="Name of the room on the server; the resource's own name when left out. On a server of another "
        "namespace it begins with `<namespace>/`.",
        min_length=1,
        max_length=256,
        pattern=r"^[^\x00-\x1f\x7f]+$",
    )
    max_participants: int = Field(
        default=10, description="Participants at most, agents not counted; 0 means no limit.", ge=0, le=100000
    )
    empty_timeout_seconds: int | None = Field(
        default=None,
        description="Seconds after which the server closes a room that nobody joined; the operator makes it anew. "
        "When left out the room stays open.",
        ge=1,
        le=31536000,
    )
    departure_timeout_seconds: int | None = Field(
        default=None,
        description="Seconds after which the server closes a room that everybody left; the operator makes it anew. "
        "When left out the room stays open.",
        ge=1,
        le=31536000,
    )
    metadata: str | None = Field(default=None, description="Text that every participant sees.", max_length=65536)
    agents: list[RoomAgent] = Field(
        default_factory=list,
        description="Pools that serve the room.",
        max_length=8,
        json_schema_extra=schema_extra(
            rule("self.all(a, self.exists_one(b, b.poolRef == a.poolRef))", "a pool may serve the room only once"),
            **{"x-kubernetes-list-type": "atomic"},
        ),
    )
    tokens: list[Token] = Field(
        default_factory=list,
        description="Identities that may enter; each gets a Secret.",
        max_length=100,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["identity"]},
    )


class TokenStatus(ApiModel):
    """One token Secret; never the token."""

    identity: str = Field(description="Identity of the participant.")
    secret_name: str = Field(description="Secret that holds the token.")
    expires_at: str = Field(description="When the token expires.", json_schema_extra={"format": "date-time"})


class RoomAgentStatus(ApiModel):
    """One pool of the room."""

    pool: str = Field(description="The pool, with its namespace where it is another.")
    agent_name: str = Field(description="Name that dispatches ask for.")
    state: str = Field(
        description="`Waiting` for a participant, `Dispatched`, `Joined`, or `Unavailable`, with the reason in "
        "`AgentsReady`."
    )
    activity: str | None = Field(
        default=None,
        description="What the agent was doing at the last look: `initializing`, `listening`, `thinking` or `speaking`.",
    )


class MeetingRoomStatus(Status):
    """The observed room."""

    room_name: str | None = Field(default=None, description="Name of the room on the server.")
    sid: str | None = Field(default=None, description="The server's id of the room; a new one when it was made anew.")
    participants: int | None = Field(default=None, description="Participants in the room, agents not counted.")
    agents: list[RoomAgentStatus] = Field(default_factory=list, description="Agents and their state.")
    agents_joined: int | None = Field(default=None, description="Agents in the room.")
    tokens: list[TokenStatus] = Field(default_factory=list, description="Token Secrets and when their tokens expire.")


class MeetingRoom(Resource):
    """A LiveKit room with its tokens and agents."""

    spec: MeetingRoomSpec
