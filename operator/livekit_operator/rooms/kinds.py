"""What the kind of a MeetingRoom implies: a VoiceAgent room is served without naming a pool."""

from collections.abc import Sequence

from livekit_operator import reasons
from livekit_operator.api.common import ObjectRef
from livekit_operator.api.meetingroom import MeetingRoom, RoomAgent
from livekit_operator.engine.cache import key_of
from livekit_operator.errors import Problem
from livekit_operator.reconciling.references import target
from livekit_operator.rooms.context import Context


def effective_agents(context: Context, room: MeetingRoom) -> tuple[Sequence[RoomAgent], Problem | None]:
    """Return the pools that serve a room, and why there is none where there should be one."""
    spec = room.spec
    if spec.agents or spec.kind != "VoiceAgent":
        return spec.agents, None
    namespace, server = room.metadata.namespace, target(room, spec.server_ref)
    names = sorted(
        key_of(pool)[1]
        for pool in context.resources["VoiceAgentPool"]
        if key_of(pool)[0] == namespace and _server_of(pool["spec"], namespace) == server
    )
    # Another pool that appears must not cost a call its agent.
    kept = [agent.pool for agent in room.last.agents if agent.pool in names]
    if len(names) == 1 or len(kept) == 1:
        return [RoomAgent(pool_ref=ObjectRef(name=(kept or names)[0]))], None
    where = f"of namespace {namespace} serves LiveKitServer {server[1]}"
    if not names:
        return [], Problem(
            reasons.POOL_NOT_FOUND, f"No VoiceAgentPool {where}: create one, or name one in spec.agents."
        )
    return [], Problem(
        reasons.POOL_AMBIGUOUS,
        f"More than one VoiceAgentPool {where}: {', '.join(names)}. Name one in spec.agents.",
    )


def _server_of(spec: dict[str, dict[str, str]], namespace: str) -> tuple[str, str]:
    reference = spec["serverRef"]
    return reference.get("namespace") or namespace, reference["name"]
