"""LiveKit servers in memory: rooms, participants and dispatches, and a record of every request."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

from livekit_operator.errors import RoomUnanswered, ServerRefused, ServerTimedOut, ServerUnreachable
from livekit_operator.views import AgentRequest, DispatchView, JobView, ParticipantView, RoomSettings, RoomView
from tests.fakes.clock import Clock

READS = frozenset({"list_rooms", "list_participants", "list_dispatches", "close"})


@dataclass
class _Dispatch:
    id: str
    agent_name: str
    metadata: str
    made_at: float
    deployment: str = ""
    jobs: list[JobView] = field(default_factory=list)


@dataclass
class _Room:
    sid: str
    settings: RoomSettings
    participants: dict[str, ParticipantView] = field(default_factory=dict)
    joined_at: dict[str, float] = field(default_factory=dict)
    dispatches: list[_Dispatch] = field(default_factory=list)


class _Way:
    """One way to a server."""

    def __init__(self, server: "FakeLiveKit", url: str) -> None:
        self._server = server
        self._url = url

    def __getattr__(self, name: str) -> Any:
        if self._url in self._server.cut and name != "close":
            raise ServerUnreachable("no answer")
        return getattr(self._server, name)


class FakeLiveKit:
    """Implements the Protocol `LiveKit`; `connect` stands in for the client's constructor."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.rooms: dict[str, _Room] = {}
        self.requests: list[tuple[str, ...]] = []
        self.connections: list[tuple[str, str, str]] = []
        self.closed = 0
        self.problem: ServerUnreachable | ServerRefused | None = None
        self.hangs = False
        """Whether it lists its rooms, and says nothing to any other request."""
        self.cut: set[str] = set()
        """URLs by which nobody reaches the server."""
        self.presets: dict[str, RoomSettings] = {}
        """Name -> what a room of it is like, where its request says nothing."""
        self.defaults = RoomSettings("", 0, 300, 20, "")
        """What rooms are like unless they say otherwise."""
        self.lingering = 0
        """How many requests for a room that was just deleted still bring the deleted one."""
        self.unlisted: set[str] = set()
        """Names of rooms that Redis has forgotten, and who is in them, until somebody comes or goes.

        The server they live on has not, which is asked by no more than CreateRoom and requests for dispatches.
        """
        self.keeps = 0
        """How many forgotten rooms another node of the server still has after they were deleted."""
        self._dying: dict[str, _Room] = {}
        self._made = 0

    def connect(self, url: str, api_key: str, api_secret: str) -> "FakeLiveKit":
        """Note a connection and return the server, as it is reached that way."""
        self.connections.append((url, api_key, api_secret))
        return cast(FakeLiveKit, _Way(self, url))

    # What tests do as callers, agents, or the server itself.

    def start_room(self, settings: RoomSettings) -> None:
        """Make a room, as somebody else would."""
        self._made += 1
        self.rooms[settings.name] = _Room(f"RM_{self._made}", settings)

    def join(
        self, room: str, identity: str, *, agent_name: str | None = None, state: str = "", connected: bool = True
    ) -> None:
        """Let somebody enter a room."""
        found = self.rooms[room]
        found.participants[identity] = ParticipantView(identity, agent_name, state, connected)
        self.unlisted.discard(room)
        found.joined_at[identity] = self.clock().timestamp()

    def take(self, room: str, job: str, *, connected: bool = True) -> None:
        """Let a worker take the newest request in a room, whose agent joins."""
        dispatch = self.rooms[room].dispatches[-1]
        dispatch.jobs.append(JobView(job, f"agent-{job}"))
        state = "listening" if connected else ""
        self.join(room, f"agent-{job}", agent_name=dispatch.agent_name, state=state, connected=connected)

    def leave(self, room: str, identity: str) -> None:
        """Let somebody leave a room."""
        del self.rooms[room].participants[identity]
        self.unlisted.discard(room)

    def close_room(self, name: str) -> None:
        """Let the server close a room by itself."""
        del self.rooms[name]
        self.unlisted.discard(name)

    def restart(self) -> None:
        """Lose everything."""
        self.rooms.clear()
        self.unlisted.clear()

    def dispatched(self, room: str) -> list[str]:
        """Return the agent names of the requests in a room."""
        return [dispatch.agent_name for dispatch in self.rooms[room].dispatches]

    @property
    def writes(self) -> list[tuple[str, ...]]:
        """Return the requests that change something."""
        return [request for request in self.requests if request[0] not in READS]

    def asked(self, verb: str) -> int:
        """Return how often something was asked."""
        return sum(request[0] == verb for request in self.requests)

    # The Protocol.

    async def list_rooms(self) -> list[RoomView]:
        """Return all rooms."""
        self._begin("list_rooms")
        return [_view(room) for name, room in self.rooms.items() if name not in self.unlisted]

    async def create_room(self, settings: RoomSettings) -> RoomView:
        """Create a room, or return the one of that name as it is."""
        self._begin("create_room", settings.name)
        if settings.preset and settings.preset not in self.presets:
            raise ServerRefused("invalid_argument", "unknown room configuration in create room request")
        if settings.name in self._dying and self.lingering:
            self.lingering -= 1
            return _view(self._dying[settings.name])
        if settings.name not in self.rooms:
            self.start_room(_filled(_filled(settings, self.presets.get(settings.preset)), self.defaults))
        return _view(self.rooms[settings.name])

    async def delete_room(self, name: str) -> bool:
        """Delete a room; return whether there was one that Redis knows."""
        self._begin("delete_room", name)
        return self._delete(name)

    async def delete_forgotten(self, name: str, sid: str) -> bool:
        """Delete a room that Redis has forgotten, by joining it."""
        self._begin("delete_forgotten", name)
        if self.keeps:
            self.keeps -= 1
            return False
        self.unlisted.discard(name)
        found = self.rooms.get(name)
        return self._delete(name) and found is not None and found.sid == sid

    async def recall_room(self, name: str, identity: str | None = None) -> None:
        """Join a room and leave it; whoever has that identity is thrown out."""
        self._begin("recall_room", name, *([identity] if identity else []))
        self._live(name).participants.pop(identity or "", None)
        self.unlisted.discard(name)

    def _delete(self, name: str) -> bool:
        if name not in self.rooms or name in self.unlisted:
            return False
        self._dying[name] = self.rooms.pop(name)
        return True

    async def update_metadata(self, name: str, metadata: str) -> None:
        """Change the metadata of a live room."""
        self._begin("update_metadata", name, metadata)
        room = self._room(name)
        room.settings = replace(room.settings, metadata=metadata)

    async def list_participants(self, room: str) -> list[ParticipantView]:
        """Return everybody in a room; nobody when there is no such room."""
        self._begin("list_participants", room)
        if room in self.unlisted:
            return []
        if room not in self.rooms:
            return []
        found, now = self.rooms[room], self.clock().timestamp()
        return [replace(p, age=now - found.joined_at.get(p.identity, now)) for p in found.participants.values()]

    async def list_dispatches(self, room: str) -> list[DispatchView]:
        """Return the requests for agents in a room."""
        self._begin("list_dispatches", room)
        now = self.clock().timestamp()
        if room not in self.rooms:
            raise RoomUnanswered("unavailable: no response from servers")
        found = self.rooms[room].dispatches
        return [DispatchView(d.id, d.agent_name, now - d.made_at, d.deployment, tuple(d.jobs)) for d in found]

    async def create_dispatch(self, room: str, wanted: AgentRequest) -> DispatchView:
        """Ask for an agent in a room."""
        name, deployment = wanted.agent_name, wanted.deployment
        self._begin("create_dispatch", room, name, wanted.metadata, *([deployment] if deployment else []))
        self._made += 1
        dispatch = _Dispatch(f"AD_{self._made}", name, wanted.metadata, self.clock().timestamp(), deployment)
        self._live(room).dispatches.append(dispatch)
        return DispatchView(dispatch.id, name, 0.0, deployment)

    async def delete_dispatch(self, room: str, dispatch_id: str) -> None:
        """Take a request back; one that is gone already is fine."""
        self._begin("delete_dispatch", room, dispatch_id)
        if room in self.rooms:
            self.rooms[room].dispatches = [d for d in self.rooms[room].dispatches if d.id != dispatch_id]

    async def remove_participant(self, room: str, identity: str) -> None:
        """Disconnect a participant; one that is gone already is fine."""
        self._begin("remove_participant", room, identity)
        if room in self.rooms and room not in self.unlisted:
            self.rooms[room].participants.pop(identity, None)

    async def close(self) -> None:
        """Close all connections."""
        self.closed += 1

    def _begin(self, *request: str) -> None:
        self.requests.append(request)
        if self.problem is not None:
            raise self.problem
        if self.hangs and request[0] != "list_rooms":
            raise ServerTimedOut("no answer in time")

    def _room(self, name: str) -> _Room:
        """Return a room that Redis knows."""
        if name in self.unlisted:
            raise ServerRefused("not_found", "requested room does not exist")
        return self._live(name)

    def _live(self, name: str) -> _Room:
        if name not in self.rooms:
            raise ServerRefused("not_found", f"room {name} does not exist")
        return self.rooms[name]


def _view(room: _Room) -> RoomView:
    people = sum(participant.agent_name is None for participant in room.participants.values())
    s = room.settings  # a server tells no more of them
    told = RoomSettings(s.name, s.max_participants, s.empty_timeout, s.departure_timeout, s.metadata)
    return RoomView(room.sid, told, people)


def _filled(settings: RoomSettings, others: RoomSettings | None) -> RoomSettings:
    """Return settings with those of others where they say nothing."""
    if others is None:
        return settings
    return RoomSettings(*(given or other for given, other in zip(_values(settings), _values(others), strict=True)))


def _values(settings: RoomSettings) -> list[Any]:
    return [getattr(settings, item.name) for item in fields(settings)]
