"""One LiveKit server's HTTP API, reduced to what reconciling needs: plain values in, plain values out.

Twirp: a POST of a protobuf message, answered by one, or by an error in JSON
(https://twitchtv.github.io/twirp/docs/spec_v7.html). livekit-api's own client is not used: it follows redirects, reads
answers of any length, and its tokens live for six hours (livekit-api 1.2.2, twirp_client.py and access_token.py).
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp
import orjson
from google.protobuf.message import DecodeError, Message
from livekit import api
from livekit.protocol.models import ParticipantInfo

from livekit_operator.clients import strangers
from livekit_operator.clients.livekit_views import MAX_NAME, dispatch_view, is_recorder, participant_view, room_view
from livekit_operator.clients.signalling import joined
from livekit_operator.clients.wire import Entries
from livekit_operator.errors import (
    NodesUnavailable,
    RoomUnanswered,
    RoomUnplaced,
    ServerNonsense,
    ServerRefused,
    ServerTimedOut,
    ServerUnreachable,
)
from livekit_operator.outside import said
from livekit_operator.views import AgentRequest, DispatchView, ParticipantView, RoomSettings, RoomView

T = TypeVar("T")
M = TypeVar("M", bound=Message)

# Twirp errors that speak of the server's condition, not of the request.
_UNAVAILABLE_CODES = frozenset({"unavailable", "internal", "deadline_exceeded", "unknown", "canceled"})
# What a server says of a room that none of its nodes has, because it is just being closed or its node is lost.
# Source: psrpc errors.go ErrNoResponse, a request to the topic of the room (livekit pkg/service/roomservice.go).
_NO_NODE = "no response from servers"
# What a server says of a room that is listed, and of whose node Redis knows nothing: whoever leaves such a room has it
# listed again, and whoever joins has its node known again.
# Source: livekit pkg/routing/errors.go ErrNotFound, GetNodeForRoom in redisrouter.go; the code is `unknown`.
_UNPLACED = "could not find object"
# What a server says that has not counted its own load for five seconds, for want of CPU, or that drains.
# Source: livekit pkg/routing/selector ErrNoAvailableNodes and IsAvailable; the code is `unknown`.
_NODES_UNAVAILABLE = "could not find any available nodes"

_LIMITS = aiohttp.ClientTimeout(total=10, sock_connect=3)
# How long a connection is used, from its first request to its last.
_CONNECTION_SECONDS = 1.0
# Tokens travel in clear text inside the cluster; a request is over long before this.
_TOKEN_LIFE = timedelta(seconds=60)

# What an answer may have. A room takes some 300 bytes with its codecs, a participant with tracks some 2 KiB.
MOST_ROOMS = 20_000
MOST_PARTICIPANTS = 5_000
MOST_DISPATCHES = 1_000
# So many entries of a listing are read before others have their turn: a few milliseconds.
_AT_ONCE = 250
_MAX_LIST_BYTES = 32 * 1024 * 1024
_MAX_ENTRY_BYTES = 1024 * 1024
_MAX_ANSWER_BYTES = 512 * 1024
_MAX_ERROR_BYTES = 16 * 1024


class LiveKit(Protocol):
    """What the operator asks of a server. All raise ServerUnreachable or ServerRefused."""

    async def list_rooms(self) -> list[RoomView]:
        """Return all rooms."""
        ...

    async def create_room(self, settings: RoomSettings) -> RoomView:
        """Create a room, or return the one of that name as it is."""
        ...

    async def delete_room(self, name: str) -> bool:
        """Delete a room and disconnect everybody; return whether the server, or its Redis, knew of one."""
        ...

    async def delete_forgotten(self, name: str, sid: str) -> bool:
        """Delete a room that a server has and its Redis has forgotten; return whether it was the one with this id."""
        ...

    async def recall_room(self, name: str, identity: str | None = None) -> None:
        """Have a server store a room in its Redis anew; whoever has that identity there is thrown out."""
        ...

    async def update_metadata(self, name: str, metadata: str) -> None:
        """Change the metadata of a live room; raises RoomUnanswered when it is there no more."""
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
        """Delete a request; one that is gone already is fine."""
        ...

    async def remove_participant(self, room: str, identity: str) -> None:
        """Disconnect a participant; one that is gone already is fine."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class LiveKitClient:
    """The implementation over HTTP; signs every request with the server's API key, for a minute."""

    def __init__(self, url: str, api_key: str, api_secret: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        parts = urlsplit(url)
        self._root = f"{parts.scheme.replace('ws', 'http', 1)}://{parts.netloc}{parts.path}".rstrip("/")
        self._key = api_key, api_secret
        self._sessions = _BriefSessions(clock)
        self._listed: dict[bytes, RoomView] = {}
        """The rooms of the last listing, by a digest of what the server said of each."""

    async def close(self) -> None:
        """Close all connections, when the last of those who wait for an answer has it."""
        await self._sessions.close()

    async def list_rooms(self) -> list[RoomView]:
        """Return all rooms."""
        # Of ten thousand rooms few change between two listings: the others are not read again.
        known, listed = self._listed, {}
        async with _understood(), self._asked("RoomService", "ListRooms", api.ListRoomsRequest(), _LIST) as response:
            async for raw in _entries(response, MOST_ROOMS, "rooms"):
                told = hashlib.blake2b(raw, digest_size=16).digest()
                if (view := known.get(told)) is None:
                    room = api.Room.FromString(raw)
                    if len(room.name) > MAX_NAME:
                        continue  # whoever may create rooms must not hide the others by such a one
                    view = room_view(room)
                listed[told] = view
        self._listed = listed
        return list(listed.values())

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
        async with _understood():
            return room_view(await self._ask("RoomService", "CreateRoom", request, _CREATE, api.Room))

    async def delete_room(self, name: str) -> bool:
        """Delete a room and disconnect everybody; return whether the server, or its Redis, knew of one."""
        request = api.DeleteRoomRequest(room=name)
        asked = self._ask("RoomService", "DeleteRoom", request, _CREATE, api.DeleteRoomResponse)
        return await _absent_is_fine(asked) is not None

    async def delete_forgotten(self, name: str, sid: str) -> bool:
        """Delete a room that a server has and its Redis has forgotten; return whether it was the one with this id."""
        # Whoever leaves has the room stored once more, perhaps just after it was deleted: it is deleted while we stay.
        async with _understood(), joined(self._root, self._key, name) as stay:
            await self.delete_room(name)
            # Who joins is led to any node, and any node that has a room of this name takes the request.
            return stay.sid == sid and await stay.ends()

    async def recall_room(self, name: str, identity: str | None = None) -> None:
        """Have a server store a room in its Redis anew; whoever has that identity there is thrown out."""
        async with _understood(), joined(self._root, self._key, name, identity):
            pass

    async def update_metadata(self, name: str, metadata: str) -> None:
        """Change the metadata of a live room; raises RoomUnanswered when it is there no more."""
        request = api.UpdateRoomMetadataRequest(room=name, metadata=metadata)
        asked = self._ask("RoomService", "UpdateRoomMetadata", request, _admin(name), api.Room)
        if await _absent_is_fine(asked) is None:
            raise RoomUnanswered(f"room {name} was deleted just now")

    async def list_participants(self, room: str) -> list[ParticipantView]:
        """Return people and agents in a room, nobody when there is no such room; recorders are neither."""

        async def listed() -> list[ParticipantView]:
            request, found = api.ListParticipantsRequest(room=room), []
            async with self._asked("RoomService", "ListParticipants", request, _admin(room)) as response:
                async for raw in _entries(response, MOST_PARTICIPANTS, "participants"):
                    participant = ParticipantInfo.FromString(raw)
                    if not is_recorder(participant):
                        found.append(participant_view(participant))
            return found

        return await _absent_is_fine(listed()) or []

    async def list_dispatches(self, room: str) -> list[DispatchView]:
        """Return the requests for agents in a room."""

        async def listed() -> list[DispatchView]:
            request = api.ListAgentDispatchRequest(room=room)
            async with self._asked("AgentDispatchService", "ListDispatch", request, _admin(room)) as response:
                return [
                    dispatch_view(api.AgentDispatch.FromString(raw))
                    async for raw in _entries(response, MOST_DISPATCHES, "dispatches")
                ]

        return await _absent_is_fine(listed()) or []

    async def create_dispatch(self, room: str, wanted: AgentRequest) -> DispatchView:
        """Ask for an agent in a room; of the workers of a deployment, or of those that registered without one."""
        request = api.CreateAgentDispatchRequest(
            room=room,
            agent_name=wanted.agent_name,
            metadata=wanted.metadata,
            attributes=dict(wanted.attributes),
            deployment=wanted.deployment,
        )
        async with _understood():
            return dispatch_view(
                await self._ask("AgentDispatchService", "CreateDispatch", request, _admin(room), api.AgentDispatch)
            )

    async def delete_dispatch(self, room: str, dispatch_id: str) -> None:
        """Delete a request; one that is gone already is fine."""
        request = api.DeleteAgentDispatchRequest(dispatch_id=dispatch_id, room=room)
        await _absent_is_fine(
            self._ask("AgentDispatchService", "DeleteDispatch", request, _admin(room), api.AgentDispatch)
        )

    async def remove_participant(self, room: str, identity: str) -> None:
        """Disconnect a participant; one that is gone already is fine."""
        request = api.RoomParticipantIdentity(room=room, identity=identity)
        await _absent_is_fine(
            self._ask("RoomService", "RemoveParticipant", request, _admin(room), api.RemoveParticipantResponse)
        )

    async def _ask(self, service: str, method: str, request: Message, grants: api.VideoGrants, answer: type[M]) -> M:
        """Return the answer to a request; raises what `_understood` turns into the errors of the Protocol."""
        async with self._asked(service, method, request, grants) as response:
            return answer.FromString(await strangers.body(response, _MAX_ANSWER_BYTES))

    @asynccontextmanager
    async def _asked(
        self, service: str, method: str, request: Message, grants: api.VideoGrants
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask, and give the answer to be read."""
        token = api.AccessToken(*self._key).with_ttl(_TOKEN_LIFE).with_grants(grants).to_jwt()
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/protobuf",
            # The server makes the dispatch's id of it (livekit pkg/service/agent_dispatch_service.go).
            "X-Livekit-Request-Id": str(uuid.uuid4()),
        }
        url = f"{self._root}/twirp/livekit.{service}/{method}"
        async with self._sessions.post(url, headers, request.SerializeToString()) as response:
            if response.status != 200:
                raise await _error(response)
            yield response


class _BriefSessions:
    """Sessions whose connections are brief, and which are closed after their last user.

    A connection that is kept leads to its server still when that drains, has old keys, or is gone, while the Service
    leads to others; one for each request costs as much as the request. So there are two sessions, each for every other
    second: in the second between, those of the other have nothing to do and close.

    A session that is closed under somebody who waits for a name's address cancels whoever waits (aiohttp connector.py),
    so whoever asks is counted. One who asks of a closed one is still answered, and leaves nothing open.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: dict[int, aiohttp.ClientSession] = {}
        self._users = 0
        self._closing = False

    @asynccontextmanager
    async def post(self, url: str, headers: dict[str, str], data: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        turn = int(self._clock() / _CONNECTION_SECONDS) % 2
        session = self._sessions.get(turn)
        if session is None:
            session = strangers.session(_LIMITS, keepalive_timeout=_CONNECTION_SECONDS / 2)
            self._sessions[turn] = session
        self._users += 1
        try:
            async with strangers.asking(session, "POST", url, headers=headers, data=data) as response:
                yield response
        finally:
            self._users -= 1
            if self._closing:
                await self.close()

    async def close(self) -> None:
        self._closing = True
        if self._users:
            return
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()


_LIST = api.VideoGrants(room_list=True)
_CREATE = api.VideoGrants(room_create=True)


def _admin(room: str) -> api.VideoGrants:
    return api.VideoGrants(room_admin=True, room=room)


async def _entries(response: aiohttp.ClientResponse, most: int, what: str) -> AsyncIterator[bytes]:
    """Yield the messages of a listing one by one, so that none of a million is kept or made that is not wanted.

    Raises ValueError when they are more than `most`, or no listing.
    """
    entries, seen = Entries(_MAX_ENTRY_BYTES), 0
    async for chunk in strangers.chunks(response, _MAX_LIST_BYTES):
        for raw in entries.feed(chunk):
            seen += 1
            if seen > most:
                raise ValueError(f"it has more than {most} {what}")
            if seen % _AT_ONCE == 0:
                await asyncio.sleep(0)  # a piece may have thousands, and all others wait meanwhile
            yield raw
    entries.end()


async def _absent_is_fine(call: Awaitable[T]) -> T | None:
    async with _understood():
        try:
            return await call
        except ServerRefused as error:
            if error.code == "not_found":
                return None
            raise


async def _error(response: aiohttp.ClientResponse) -> ServerUnreachable | ServerRefused:
    """Return the error that an answer other than 200 tells of, in the server's words."""
    if 300 <= response.status < 400:
        return ServerNonsense(f"it answers {response.status}, which leads elsewhere and is not followed")
    try:
        told: Any = orjson.loads(await strangers.body(response, _MAX_ERROR_BYTES))
    except strangers.TooLong:
        raise  # neither a server's nor a proxy's: whoever goes on asking is given as much each time
    except ValueError:
        told = None  # a proxy's page
    told = told if isinstance(told, dict) else {}
    code, message = told.get("code"), told.get("msg")
    code = said(code, 64) if isinstance(code, str) and code else "unknown"
    message = said(message) if isinstance(message, str) else f"status {response.status}"
    if code == "unavailable" and _NO_NODE in message:
        return RoomUnanswered(f"{code}: {message}")
    if code == "unknown" and _UNPLACED in message:
        return RoomUnplaced(f"{code}: {message}")
    if code in _UNAVAILABLE_CODES and _NODES_UNAVAILABLE in message:
        return NodesUnavailable(f"{code}: {message}")
    if code in _UNAVAILABLE_CODES:
        return ServerUnreachable(f"{code}: {message}")
    return ServerRefused(code, message)


@asynccontextmanager
async def _understood() -> AsyncIterator[None]:
    """Turn whatever can go wrong into one of the errors that the Protocol names."""
    try:
        yield
    except TimeoutError as error:  # aiohttp's are of this kind as well
        raise ServerTimedOut(said(error) or "no answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ServerUnreachable(said(error) or type(error).__name__) from error
    except (DecodeError, ValueError, RecursionError) as error:
        raise ServerNonsense(f"the answer is not a LiveKit server's: {said(error)}") from error
