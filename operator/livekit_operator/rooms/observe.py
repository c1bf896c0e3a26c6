"""What is there of a MeetingRoom before a pass does anything: its server, its room, whose that is, its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.meetingroom import MeetingRoom, RoomAgent
from livekit_operator.errors import Blocked, Problem
from livekit_operator.rooms.candidates import agent_names
from livekit_operator.rooms.claims import holder_of, is_claimed
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions import lifecycle
from livekit_operator.rooms.decisions import settings as build
from livekit_operator.rooms.decisions.limits import Limits, refusal
from livekit_operator.rooms.decisions.settings import AgentNames
from livekit_operator.rooms.kinds import effective_agents
from livekit_operator.rooms.observe_tokens import TokenSecrets, observe_tokens
from livekit_operator.servers.access import find_access, find_server, server_problem
from livekit_operator.servers.memory import ServerAccess
from livekit_operator.views import ParticipantView, RoomView

_NAME_RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Observation:
    """A MeetingRoom's server, and its room there; `claimed` when the room of this name is this resource's."""

    now: datetime
    server: LiveKitServer
    access: ServerAccess
    claimed: bool
    view: RoomView | None
    """The room as listed."""
    verified: bool
    """Whether no server was lost that may have had it."""
    participants: Sequence[ParticipantView]
    """Who is in a room that the listing shows empty, where it matters."""
    names: AgentNames
    agents: Sequence[RoomAgent]
    """The agents that are to serve it."""
    agents_problem: Problem | None
    server_problem: Problem | None
    """Why the server is not ready, though it lists its rooms."""
    tokens: TokenSecrets
    joined: bool = False
    """Whether somebody is in a room that would have been over without."""


def find_room_server(context: Context, room: MeetingRoom) -> tuple[LiveKitServer, ServerAccess] | None:
    """Return the server of a room and the access to it, None when it will wake the room as soon as it can be used.

    Raises Blocked when it cannot be, or when another resource has the room already.
    """
    server = find_server(context, room, room.spec.server_ref)
    holder = holder_of(context, room)
    if holder != room.key:
        message = (
            f"MeetingRoom {'/'.join(holder)} has room {build.room_name(room)} already: choose another roomName, or "
            f"delete that one."
        )
        raise Blocked(Problem(reasons.NAME_CONFLICT, message, retry_after=_NAME_RETRY_SECONDS))
    access = find_access(context, room, server)
    if access is None:
        return None
    if not access.rooms.listed or not access.keys.external_url:
        problem = server_problem(room, server)
        if problem is None:
            return None  # the server's first listing wakes us
        raise Blocked(problem)
    return server, access


async def observe(context: Context, room: MeetingRoom, server: LiveKitServer, access: ServerAccess) -> Observation:
    """Read what there is; nothing is changed by it."""
    now, name = context.now(), build.room_name(room)
    claimed, view = is_claimed(context, room, access), access.rooms.get(name)
    verified = name not in access.rooms.unverified
    overdue = claimed and lifecycle.was_empty_too_long(room, view, now)
    names = agent_names(context, room, server)
    outdated = (
        view is not None
        and verified
        and lifecycle.seems_outdated(room, view)
        and not lifecycle.is_asked_anew(room, view)
        and lifecycle.foreign(room, view, claimed=claimed) is None
        and refusal(room, server, names) is None
    )
    participants = await access.client.list_participants(name) if overdue or outdated else []
    agents, agents_problem = effective_agents(context, room)
    return Observation(
        now=now,
        server=server,
        access=access,
        claimed=claimed,
        view=view,
        verified=verified,
        participants=participants,
        joined=overdue and any(participant.agent_name is None for participant in participants),
        names=names,
        agents=agents,
        agents_problem=agents_problem,
        server_problem=server_problem(room, server),
        tokens=observe_tokens(context, room, access, Limits.of(server), names),
    )
