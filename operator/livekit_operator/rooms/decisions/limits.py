"""What a server would refuse of a room: names, texts that are too long, presets."""

import re
from dataclasses import dataclass

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.errors import Problem
from livekit_operator.rooms.decisions.settings import AgentNames, room_name

# Limits of a server that names none (livekit pkg/config/config.go), in bytes.
_METADATA_BYTES = 512 * 1024
_ATTRIBUTES_BYTES = 64 * 1024
_NAME_BYTES = 256
_SHORTEN = "shorten it, or raise spec.limits of the LiveKitServer"
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


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


def refusal(room: MeetingRoom, server: LiveKitServer, agents: AgentNames) -> Problem | None:
    """Return reason and message of why the room cannot be made; None when it can."""
    if problem := _of_another_namespace(room, server):
        return Problem(reasons.ROOM_NAME_NOT_ALLOWED, problem)
    if problem := agents.refusal("spec.agentDispatches", room.spec.agent_dispatches):
        return Problem(reasons.AGENT_NOT_ALLOWED, problem)
    if problem := beyond_limits(room, Limits.of(server)):
        return Problem(reasons.SERVER_LIMIT_EXCEEDED, problem)
    preset, section = room.spec.preset, server.spec.extra_config.get("room")
    presets = section.get("room_configurations") if isinstance(section, dict) else None
    if preset and not (isinstance(presets, dict) and preset in presets):
        name = room.spec.server_ref.name
        message = (
            f"LiveKitServer {name} has no {preset} in spec.extraConfig.room.room_configurations: add it, or choose "
            f"another spec.preset."
        )
        return Problem(reasons.PRESET_NOT_FOUND, message)
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
    """Return which text of the room the server would refuse, and why; None when it accepts all."""
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
    # A character has four bytes at most: the common case needs no encoding.
    if not text or not most or len(text) * 4 <= most or len(text.encode()) <= most:
        return None
    return f"{path} has {len(text.encode())} bytes, and the server takes {most}: {_SHORTEN}."


def beyond_attributes(path: str, attributes: dict[str, str], limits: Limits) -> str | None:
    """Return that attributes are too long for the server; None when they are not."""
    size = sum(len(name.encode()) + len(value.encode()) for name, value in attributes.items())
    if not limits.attributes or size <= limits.attributes:
        return None
    return f"{path} have {size} bytes, and the server takes {limits.attributes}: {_SHORTEN}."
