"""Rooms, participants and dispatches of the protocol, as plain values."""

import time

from livekit import api
from livekit.protocol.models import ParticipantInfo

from livekit_operator.outside import MOST_COUNT, said
from livekit_operator.views import DispatchView, JobView, ParticipantView, RoomSettings, RoomView, remembered

# livekit-agents names the agent in this participant attribute (livekit-protocol, agent/constants), since 1.4.
ATTRIBUTE_AGENT_NAME = "lk.agent.name"
# And the server in this one, whatever its worker is made with (livekit-server pkg/agent/worker.go, since 1.9.2).
ATTRIBUTE_WORKERS_NAME = "lk.agent_name"
# And here what it does: initializing, listening, thinking, speaking (livekit-agents types.py ATTRIBUTE_AGENT_STATE).
ATTRIBUTE_AGENT_STATE = "lk.agent.state"
# States of an agent at work, which it comes to only with a connection.
_WORKING = frozenset({"listening", "thinking", "speaking"})
MOST_JOBS = 1_000
# Longer than any name a server takes by default (livekit pkg/config/config.go Limit: 256).
MAX_NAME = 1024
# LiveKit's ids have 15 (protocol utils/guid.go).
_MAX_ID = 128


def room_view(room: api.Room) -> RoomView:
    """Return the part of a protocol Room that counts here; raises ValueError when its name is nobody's."""
    # The server's num_participants leaves agents and other dependents out (livekit pkg/rtc/room.go).
    settings = RoomSettings(
        _name(room.name), room.max_participants, room.empty_timeout, room.departure_timeout, remembered(room.metadata)
    )
    return RoomView(
        sid=_name(room.sid, _MAX_ID),
        settings=settings,
        participants=min(room.num_participants, MOST_COUNT),
        publishers=min(room.num_publishers, MOST_COUNT),
    )


def _name(name: str, most: int = MAX_NAME) -> str:
    if len(name) > most:
        raise ValueError(f"a name of {len(name)} letters")
    return name


def is_recorder(participant: ParticipantInfo) -> bool:
    """Return whether it keeps no room open, as agents do not either (livekit pkg/rtc/participant.go IsDependent)."""
    return participant.kind == ParticipantInfo.Kind.EGRESS or participant.permission.recorder


def participant_view(participant: ParticipantInfo) -> ParticipantView:
    """Return what counts of a participant; raises ValueError."""
    attributes = participant.attributes
    is_agent = participant.kind == ParticipantInfo.Kind.AGENT
    state = said(attributes.get(ATTRIBUTE_AGENT_STATE, ""), 32) if is_agent else ""
    return ParticipantView(
        identity=_name(participant.identity),
        agent_name=_name(attributes.get(ATTRIBUTE_AGENT_NAME) or attributes.get(ATTRIBUTE_WORKERS_NAME, ""))
        if is_agent
        else None,
        state=state,
        connected=_is_connected(participant, state),
        age=max(0.0, time.time() - participant.joined_at) if participant.joined_at else 0.0,  # seconds
        publishes=bool(participant.tracks),
    )


def _is_connected(participant: ParticipantInfo, state: str) -> bool:
    """Return whether media can flow: JOINED means that signalling was answered, and ACTIVE that ICE and DTLS were.

    Source: livekit-server pkg/rtc/participant.go onPrimaryTransportInitialConnected, protocol livekit_models.proto
    """
    active = participant.state == ParticipantInfo.State.ACTIVE
    return active or bool(participant.tracks) or state in _WORKING


def dispatch_view(dispatch: api.AgentDispatch) -> DispatchView:
    """Return what counts of a dispatch; raises ValueError."""
    created = dispatch.state.created_at / 1e9  # nanoseconds
    if len(dispatch.state.jobs) > MOST_JOBS:
        raise ValueError(f"a dispatch with more than {MOST_JOBS} jobs")
    return DispatchView(
        _name(dispatch.id),
        _name(dispatch.agent_name),
        max(0.0, time.time() - created) if created else 0.0,
        _name(dispatch.deployment),
        tuple(JobView(_name(job.id), _name(job.state.participant_identity)) for job in dispatch.state.jobs),
    )
