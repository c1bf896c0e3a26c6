"""When a room needs an agent and does not have one: a pure decision.

LiveKit keeps no queue: a dispatch that finds no free worker, or whose worker dies, stays in the list and is never
tried again (livekit pkg/agent/client.go, pkg/service/agentservice.go). So a dispatch counts only while it is young
enough for its agent still to be on the way:

    agent of that name in the room             -> Joined, look again from time to time
    the same, but its people left long ago     -> Joined, its request is taken back, which ends its job
    nobody there who needs it                  -> Waiting, and requests left over are taken back
    pool has no ready agent                    -> Unavailable
    a young request                            -> Dispatched, look again when it is old
    anything else                              -> take old requests back, ask anew
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from livekit_operator.api.meetingroom import DispatchPolicy
from livekit_operator.views import DispatchView, ParticipantView

# An assignment is dropped after 7.5 s (livekit-agents worker.py ASSIGNMENT_TIMEOUT); joining takes about one more.
PATIENCE_SECONDS = 12.0
# A webhook tells that an agent died, and so does the listing of rooms, which counts publishers: the last resort.
PRESENCE_SECONDS = 300.0
# An agent whose people have left goes by itself, some seconds later when their connection broke. After this it is sent.
LONELY_SECONDS = 20.0

State = Literal["Joined", "Waiting", "Dispatched", "Unavailable"]


@dataclass(frozen=True)
class WantedAgent:
    """An agent that a room may need."""

    agent_name: str
    policy: DispatchPolicy
    available: bool


@dataclass(frozen=True)
class Decision:
    """What to do for one agent now, and when to look again (seconds)."""

    state: State
    create: bool = False
    delete: tuple[str, ...] = ()
    again: float | None = None


def decide_dispatch(
    wanted: WantedAgent,
    participants: Sequence[ParticipantView],
    dispatches: Sequence[DispatchView],
    lonely_seconds: float = 0.0,
) -> Decision:
    """Return what one agent of a room needs, given everybody in the room, all its requests, and since when
    (seconds) no person is there."""
    ours = [dispatch for dispatch in dispatches if dispatch.agent_name == wanted.agent_name]
    old = tuple(dispatch.id for dispatch in ours if dispatch.age >= PATIENCE_SECONDS)
    young = [dispatch for dispatch in ours if dispatch.age < PATIENCE_SECONDS]
    people = any(participant.agent_name is None for participant in participants)
    if any(participant.agent_name == wanted.agent_name for participant in participants):
        if people or wanted.policy == "OnCreate":
            return Decision("Joined", again=PRESENCE_SECONDS)
        left_behind = lonely_seconds >= LONELY_SECONDS
        return Decision("Joined", delete=tuple(d.id for d in ours) if left_behind else (), again=LONELY_SECONDS)
    if wanted.policy == "OnFirstParticipant" and not people:
        return Decision("Waiting", delete=tuple(dispatch.id for dispatch in ours))
    if young:
        return Decision("Dispatched", delete=old, again=PATIENCE_SECONDS - min(d.age for d in young))
    if not wanted.available:
        return Decision("Unavailable", delete=old)
    return Decision("Dispatched", create=True, delete=old, again=PATIENCE_SECONDS)
