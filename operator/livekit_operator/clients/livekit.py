"""One LiveKit server's HTTP API, reduced to what reconciling needs: plain values in, plain values out."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar, cast

import aiohttp
from google.protobuf.message import DecodeError
from livekit import api
from livekit.protocol.models import ParticipantInfo

from livekit_operator.errors import ServerRefused, ServerUnreachable
from livekit_operator.views import AgentRequest, DispatchView, JobView, ParticipantView, RoomSettings, RoomView

T = TypeVar("T")

# livekit-agents names the agent in this participant attribute (livekit-protocol, agent/constants).
ATTRIBUTE_AGENT_NAME = "lk.agent.name"
# And here what it does: initializing, listening, thinking, speaking (livekit-agents types.py ATTRIBUTE_AGENT_STATE).
ATTRIBUTE_AGENT_STATE = "lk.agent.state"
# States of an agent at work, which it comes to only with a connection.
_WORKING = frozenset({"listening", "thinking", "speaking"})

# Twirp errors that speak of the server's condition, not of the request.
_UNAVAILABLE_CODES = frozenset({"unavailable", "internal", "deadline_exceeded", "unknown", "canceled"})

_LIMITS = aiohttp.ClientTimeout(total=10, sock_connect=3)
# How long a connection is used, from its first request to its last.
_CONNECTION_SECONDS = 1.0


class LiveKit(Protocol):
    """What the operator asks of a server. All raise ServerUnreachable or ServerRefused."""

    async def list_rooms(self) -> list[RoomView]:
        """Return all rooms."""
        ...

    async def create_room(self, settings: RoomSettings) -> RoomView:
        """Create a room, or return the one of that name as it is."""
        ...

    async def delete_room(self, name: str) -> None:
        """Delete a room and disconnect everybody; one that is gone already is fine."""
        ...

    async def update_metadata(self, name: str, metadata: str) -> None:
        """Change the metadata of a live room."""
        ...

    async def list_participants(self, room: str) -> list[ParticipantView]:
        """Return everybody in a room, agents included; nobody when there is no such room."""
        ...

    async def list_dispatches(self, room: str) -> list[DispatchView]:
        """Return the requests for agents in a room."""
        ...

    async def create_dispatch(self, room: str, wanted: AgentRequest) -> DispatchView:
        """Ask for an agent in a room; of the workers of a deployment, or of those that registered without one."""
        ...

    async def delete_dispatch(self, room: str, dispatch_id: str) -> None:
        """Take a request back; one that is gone already is fine."""
        ...

    async def remove_participant(self, room: str, identity: str) -> None:
        """Disconnect a participant; one that is gone already is fine."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class LiveKitClient:
    """The implementation over HTTP; signs every request with the server's API key."""

    def __init__(self, url: str, api_key: str, api_secret: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sessions = _BriefSessions(clock)
        limited = cast(aiohttp.ClientSession, self._sessions)
        # No failover: that is for LiveKit Cloud's regions.
        self._api = api.LiveKitAPI(url, api_key, api_secret, session=limited, failover=False)
        self._listed: dict[bytes, RoomView] = {}
        """The rooms of the last listing, by what the server said of each."""

    async def close(self) -> None:
        """Close all connections."""
        await self._sessions.close()

    async def list_rooms(self) -> list[RoomView]:
        """Return all rooms."""
        answer = await _call(self._api.room.list_rooms(api.ListRoomsRequest()))
        # Of ten thousand rooms few change between two listings: the others are not read again.
        known, self._listed = self._listed, {}
        views = []
        for room in answer.rooms:
            raw = room.SerializeToString()
            view = known.get(raw) or room_view(room)
            self._listed[raw] = view
            views.append(view)
        return views

    async def create_room(self, settings: RoomSettings) -> RoomView:
        """Create a room, or return the one of that name as it is."""
        request = api.CreateRoomRequest(
            name=settings.name,
            max_participants=settings.max_participants,
            empty_timeout=settings.empty_timeout,
            departure_timeout=settings.departure_timeout,
            metadata=settings.metadata,
            room_preset=settings.preset,
            min_playout_delay=settings.min_playout_delay,
            max_playout_delay=settings.max_playout_delay,
            sync_streams=settings.sync_streams,
            agents=[
                api.RoomAgentDispatch(
                    agent_name=agent.agent_name,
                    metadata=agent.metadata,
                    attributes=dict(agent.attributes),
                    deployment=agent.deployment,
                )
                for agent in settings.agents
            ],
        )
        return room_view(await _call(self._api.room.create_room(request)))

    async def delete_room(self, name: str) -> None:
        """Delete a room and disconnect everybody; one that is gone already is fine."""
        await _absent_is_fine(self._api.room.delete_room(api.DeleteRoomRequest(room=name)))

    async def update_metadata(self, name: str, metadata: str) -> None:
        """Change the metadata of a live room."""
        request = api.UpdateRoomMetadataRequest(room=name, metadata=metadata)
        await _call(self._api.room.update_room_metadata(request))

    async def list_participants(self, room: str) -> list[ParticipantView]:
        """Return people and agents in a room, nobody when there is no such room; recorders are neither."""
        answer = await _absent_is_fine(self._api.room.list_participants(api.ListParticipantsRequest(room=room)))
        found = answer.participants if answer else ()
        return [_participant_view(participant) for participant in found if not _is_recorder(participant)]

    async def list_dispatches(self, room: str) -> list[DispatchView]:
        """Return the requests for agents in a room."""
        answer = await _absent_is_fine(self._api.agent_dispatch.list_dispatch(room))
        return [_dispatch_view(dispatch) for dispatch in answer or ()]

    async def create_dispatch(self, room: str, wanted: AgentRequest) -> DispatchView:
        """Ask for an agent in a room; of the workers of a deployment, or of those that registered without one."""
        request = api.CreateAgentDispatchRequest(
            room=room,
            agent_name=wanted.agent_name,
            metadata=wanted.metadata,
            attributes=dict(wanted.attributes),
            deployment=wanted.deployment,
        )
        return _dispatch_view(await _call(self._api.agent_dispatch.create_dispatch(request)))

    async def delete_dispatch(self, room: str, dispatch_id: str) -> None:
        """Take a request back; one that is gone already is fine."""
        await _absent_is_fine(self._api.agent_dispatch.delete_dispatch(dispatch_id, room))

    async def remove_participant(self, room: str, identity: str) -> None:
        """Disconnect a participant; one that is gone already is fine."""
        request = api.RoomParticipantIdentity(room=room, identity=identity)
        await _absent_is_fine(self._api.room.remove_participant(request))


class _BriefSessions:
    """The part of a session that livekit-api uses: its connections are brief, and each request has a limit.

    A connection that is kept leads to its server still when that drains, has old keys, or is gone, while the Service
    leads to others; one for each request costs as much as the request. So there are two sessions, each for every other
    second: in the second between, those of the other have nothing to do and close.

    livekit-api asks with `timeout=None` where it has none of its own (livekit-api 1.2.2, twirp_client.py), and that is
    no limit at all to aiohttp, whatever the session's is: a server whose node is gone would hold its pass for minutes.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions = [
            aiohttp.ClientSession(
                timeout=_LIMITS,
                connector=aiohttp.TCPConnector(keepalive_timeout=_CONNECTION_SECONDS / 2),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            for _ in range(2)
        ]
        self.timeout = _LIMITS

    def post(self, url: str, *, timeout: aiohttp.ClientTimeout | None = None, **options: Any) -> Any:
        session = self._sessions[int(self._clock() / _CONNECTION_SECONDS) % 2]
        return session.post(url, timeout=timeout or self.timeout, **options)

    async def close(self) -> None:
        for session in self._sessions:
            await session.close()


def room_view(room: api.Room) -> RoomView:
    """Return the part of a protocol Room that counts here."""
    # The server's num_participants leaves agents and other dependents out (livekit pkg/rtc/room.go).
    settings = RoomSettings(room.name, room.max_participants, room.empty_timeout, room.departure_timeout, room.metadata)
    return RoomView(sid=room.sid, settings=settings, participants=room.num_participants, publishers=room.num_publishers)


def _is_recorder(participant: ParticipantInfo) -> bool:
    """Return whether it keeps no room open, as agents do not either (livekit pkg/rtc/participant.go IsDependent)."""
    return participant.kind == ParticipantInfo.Kind.EGRESS or participant.permission.recorder


def _participant_view(participant: ParticipantInfo) -> ParticipantView:
    attributes = dict(participant.attributes)
    is_agent = participant.kind == ParticipantInfo.Kind.AGENT
    state = attributes.get(ATTRIBUTE_AGENT_STATE, "") if is_agent else ""
    return ParticipantView(
        identity=participant.identity,
        agent_name=attributes.get(ATTRIBUTE_AGENT_NAME, "") if is_agent else None,
        state=state,
        connected=_is_connected(participant, state),
        age=max(0.0, time.time() - participant.joined_at) if participant.joined_at else 0.0,  # seconds
    )


def _is_connected(participant: ParticipantInfo, state: str) -> bool:
    """Return whether media can flow: JOINED means that signalling was answered, and ACTIVE that ICE and DTLS were.

    Source: livekit-server pkg/rtc/participant.go onPrimaryTransportInitialConnected, protocol livekit_models.proto
    """
    active = participant.state == ParticipantInfo.State.ACTIVE
    return active or bool(participant.tracks) or state in _WORKING


def _dispatch_view(dispatch: api.AgentDispatch) -> DispatchView:
    created = dispatch.state.created_at / 1e9  # nanoseconds
    return DispatchView(
        dispatch.id,
        dispatch.agent_name,
        max(0.0, time.time() - created) if created else 0.0,
        dispatch.deployment,
        tuple(JobView(job.id, job.state.participant_identity) for job in dispatch.state.jobs),
    )


async def _absent_is_fine(call: Awaitable[T]) -> T | None:
    try:
        return await _call(call)
    except ServerRefused as error:
        if error.code == "not_found":
            return None
        raise


async def _call(call: Awaitable[T]) -> T:
    try:
        return await call
    except api.ServerError as error:
        if error.code in _UNAVAILABLE_CODES:
            raise ServerUnreachable(f"{error.code}: {error.message}") from error
        raise ServerRefused(error.code, error.message) from error
    except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as error:
        # RuntimeError: the session was closed under us, because the server has new keys.
        raise ServerUnreachable(str(error) or type(error).__name__) from error
    except (DecodeError, AttributeError) as error:
        # What answers is not a LiveKit server; livekit-api takes every error to be a JSON object (twirp_client.py).
        raise ServerUnreachable(f"the answer is not a LiveKit server's: {error}") from error
