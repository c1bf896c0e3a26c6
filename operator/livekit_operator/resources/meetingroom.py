"""The room of a MeetingRoom as its server is to make it."""

import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.meetingroom import MeetingRoom, RoomKind
from livekit_operator.api.tokens import AgentDispatch
from livekit_operator.resources.metadata import digest, qualified_name
from livekit_operator.views import AgentRequest, RoomSettings

# The server knows no "never" (0 means its default); ten years will do.
NEVER_SECONDS = 10 * 365 * 86400
# Limits of a server that names none (livekit pkg/config/config.go), in bytes.
_METADATA_BYTES = 512 * 1024
_ATTRIBUTES_BYTES = 64 * 1024
_NAME_BYTES = 256
_SHORTEN = "shorten it, or raise spec.limits of the LiveKitServer"
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

_MAX_PARTICIPANTS: dict[RoomKind, int] = {"Meeting": 10, "VoiceAgent": 10, "LiveStream": 0}


@dataclass(frozen=True)
class ServerKeys:
    """What a token is signed with, and what goes beside it into its Secret."""

    api_key: str
    api_secret: str
    internal_url: str
    external_url: str

    @cached_property
    def fingerprint(self) -> str:
        """Return what tells one key from another: short on purpose, too little to test guesses of a key against."""
        return f"{self.api_key} {digest(self.api_secret, 8)}"


@dataclass(frozen=True)
class Limits:
    """How long texts may be on a server, in bytes; 0 is no limit."""

    metadata: int
    attributes: int
    room_name: int
    identity: int
    participant_name: int

    @classmethod
    def of(cls, server: LiveKitServer) -> "Limits":
        """Return the limits of a server."""
        given = server.spec.limits
        return cls(
            _METADATA_BYTES if given.metadata_bytes is None else given.metadata_bytes,
            _ATTRIBUTES_BYTES if given.attributes_bytes is None else given.attributes_bytes,
            _NAME_BYTES if given.room_name_length is None else given.room_name_length,
            _NAME_BYTES if given.identity_length is None else given.identity_length,
            _NAME_BYTES if given.participant_name_length is None else given.participant_name_length,
        )


@dataclass(frozen=True)
class AgentNames:
    """Which agents a room may ask for by name: all of them (`prefix` None), or its namespace's and those let to it."""

    prefix: str | None = None
    others: frozenset[str] = frozenset()

    def takes(self, name: str) -> bool:
        """Return whether a room may ask for an agent of this name."""
        return self.prefix is None or name.startswith(self.prefix) or name in self.others

    def refusal(self, path: str, agents: Sequence[AgentDispatch]) -> str | None:
        """Return which agent of a list in the spec may not be asked for, and why; None when all may."""
        number = next((n for n, agent in enumerate(agents) if not self.takes(agent.agent_name)), None)
        if number is None:
            return None
        return (
            f"{path}[{number}].agentName: rooms of this namespace call agents whose names begin with {self.prefix}, "
            "and those of VoiceAgentPools that list it in their spec.allowedNamespaces: choose one of these."
        )


def room_name(room: MeetingRoom) -> str:
    """Return the room's name on the server."""
    namespace = room.metadata.namespace
    name = room.spec.room_name or room.metadata.name
    return qualified_name(namespace, name, room.spec.server_ref.namespace or namespace)


def claim(room: MeetingRoom, api_secret: str) -> str:
    """Return the proof that the operator made, or took over, the room of this name for this very resource.

    Only who has the server's key can make it, and they can do anything with the room anyway.
    """
    text = json.dumps(["livekit-operator claim", room.metadata.uid, room_name(room)])
    return hmac.new(api_secret.encode(), text.encode(), "sha256").hexdigest()[:32]


def room_settings(room: MeetingRoom) -> RoomSettings:
    """Return what the room is made with. A persistent room that no timeout is set for stays open."""
    spec = room.spec
    otherwise = NEVER_SECONDS if spec.persistent else 0
    most = 0 if spec.preset else _MAX_PARTICIPANTS[spec.kind]
    return RoomSettings(
        name=room_name(room),
        max_participants=most if spec.max_participants is None else spec.max_participants,
        empty_timeout=spec.empty_timeout_seconds or otherwise,
        departure_timeout=spec.departure_timeout_seconds or otherwise,
        metadata=spec.metadata or "",
        preset=spec.preset or "",
        min_playout_delay=spec.playout_delay.min_ms if spec.playout_delay else 0,
        max_playout_delay=spec.playout_delay.max_ms if spec.playout_delay else 0,
        sync_streams=bool(spec.sync_streams),
        agents=tuple(_request(agent) for agent in spec.agent_dispatches),
    )


def _request(agent: AgentDispatch) -> AgentRequest:
    attributes = tuple(sorted(agent.attributes.items()))
    return AgentRequest(agent.agent_name, agent.metadata or "", attributes, agent.deployment or "")


def settings_hash(settings: RoomSettings) -> str:
    """Return a digest of what a live room cannot be given: everything but its metadata."""
    s = settings
    requests = [[a.agent_name, a.metadata, a.attributes, a.deployment] for a in s.agents]
    delays = [s.min_playout_delay, s.max_playout_delay]
    timeouts = [s.empty_timeout, s.departure_timeout]
    return digest([s.max_participants, *timeouts, s.preset, *delays, s.sync_streams, requests])


def differs(actual: RoomSettings, wanted: RoomSettings, made_with: str | None) -> bool:
    """Return whether a room was made with other settings than wanted now, its metadata aside.

    `made_with` is the digest of what it was made with, None for a room that somebody else made.
    """
    stated = (
        (actual.max_participants, wanted.max_participants),
        (actual.empty_timeout, wanted.empty_timeout),
        (actual.departure_timeout, wanted.departure_timeout),
    )
    if any(want and is_ != want for is_, want in stated):
        return True
    if made_with is None:
        return bool(wanted.preset or wanted.max_playout_delay or wanted.sync_streams or wanted.agents)
    return made_with != settings_hash(wanted)


def refusal(room: MeetingRoom, server: LiveKitServer, agents: AgentNames) -> tuple[str, str] | None:
    """Return reason and message of why the room cannot be made; None when it can."""
    if problem := _of_another_namespace(room, server):
        return "RoomNameNotAllowed", problem
    if problem := agents.refusal("spec.agentDispatches", room.spec.agent_dispatches):
        return "AgentNotAllowed", problem
    if problem := beyond_limits(room, Limits.of(server)):
        return "ServerLimitExceeded", problem
    preset, section = room.spec.preset, server.spec.extra_config.get("room")
    presets = section.get("room_configurations") if isinstance(section, dict) else None
    if preset and not (isinstance(presets, dict) and preset in presets):
        name = room.spec.server_ref.name
        message = (
            f"LiveKitServer {name} has no {preset} in spec.extraConfig.room.room_configurations: add it, or choose "
            f"another spec.preset."
        )
        return "PresetNotFound", message
    return None


def _of_another_namespace(room: MeetingRoom, server: LiveKitServer) -> str | None:
    """Return that the name is one of another namespace's, whether that has such a room or not; None when it is not."""
    owner, slash, _ = room_name(room).partition("/")
    allowed = server.spec.allowed_namespaces
    named = owner in allowed or ("*" in allowed and re.fullmatch(_NAMESPACE, owner))
    if not slash or not named or owner == room.metadata.namespace:
        return None
    return f"spec.roomName: names that begin with {owner}/ are for MeetingRooms of that namespace; choose another one."


def beyond_limits(room: MeetingRoom, limits: Limits) -> str | None:
    """Return which text of the room the server would refuse, and why; None when it takes all."""
    if limits.room_name and len(name := room_name(room).encode()) > limits.room_name:
        return (
            f"The room's name on the server has {len(name)} bytes, and the server takes {limits.room_name}: {_SHORTEN}."
        )
    texts = [("spec.metadata", room.spec.metadata)]
    texts += [(f"spec.agents[{n}].metadata", agent.metadata) for n, agent in enumerate(room.spec.agents)]
    for n, agent in enumerate(room.spec.agent_dispatches):
        texts.append((f"spec.agentDispatches[{n}].metadata", agent.metadata))
        if problem := beyond_attributes(f"spec.agentDispatches[{n}].attributes", agent.attributes, limits):
            return problem
    return next((problem for path, text in texts if (problem := beyond_bytes(path, text, limits.metadata))), None)


def beyond_bytes(path: str, text: str | None, most: int) -> str | None:
    """Return that a field is too long for the server; None when it is not."""
    # A character has four bytes at most: the common case is told without encoding.
    if not text or not most or len(text) * 4 <= most or len(text.encode()) <= most:
        return None
    return f"{path} has {len(text.encode())} bytes, and the server takes {most}: {_SHORTEN}."


def beyond_attributes(path: str, attributes: dict[str, str], limits: Limits) -> str | None:
    """Return that attributes are too long for the server; None when they are not."""
    size = sum(len(name.encode()) + len(value.encode()) for name, value in attributes.items())
    if not limits.attributes or size <= limits.attributes:
        return None
    return f"{path} have {size} bytes, and the server takes {limits.attributes}: {_SHORTEN}."
