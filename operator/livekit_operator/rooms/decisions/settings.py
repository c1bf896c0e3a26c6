"""The room of a MeetingRoom as its server is to create it."""

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

from livekit_operator.api.meetingroom import MeetingRoom, RoomKind
from livekit_operator.api.tokens import AgentDispatch
from livekit_operator.manifests.metadata import digest, qualified_name
from livekit_operator.views import AgentRequest, RoomSettings

# The server knows no "never" (0 means its default); ten years will do.
NEVER_SECONDS = 10 * 365 * 86400

_MAX_PARTICIPANTS: dict[RoomKind, int] = {"Meeting": 10, "VoiceAgent": 10, "LiveStream": 0}


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

    Only somebody with the server's key can make it, who can do anything with the room anyway.
    """
    text = json.dumps(["livekit-operator claim", room.metadata.uid, room_name(room)])
    return hmac.new(api_secret.encode(), text.encode(), "sha256").hexdigest()[:32]


def room_settings(room: MeetingRoom) -> RoomSettings:
    """Return what the room is created with. A persistent room without a timeout stays open."""
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
