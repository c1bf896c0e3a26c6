"""The outside as deciding sees it: rooms, participants, dispatches and workers as plain values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RoomSettings:
    """What a room is made with; timeouts in seconds."""

    name: str
    max_participants: int
    empty_timeout: int
    departure_timeout: int
    metadata: str


@dataclass(frozen=True)
class RoomView:
    """A room on the server; `participants` does not count agents, `publishers` does."""

    sid: str
    settings: RoomSettings
    participants: int = 0
    publishers: int = 0

    @property
    def name(self) -> str:
        """Return the room's name."""
        return self.settings.name


@dataclass(frozen=True)
class ParticipantView:
    """A participant of a room; `agent_name` is None for people."""

    identity: str
    agent_name: str | None = None


@dataclass(frozen=True)
class DispatchView:
    """A request for an agent; `age` in seconds."""

    id: str
    agent_name: str
    age: float


@dataclass(frozen=True)
class ProviderError:
    """A provider that refuses an agent pod; `role` is stt, llm or tts, `code` the HTTP status."""

    role: str
    provider: str
    code: int
    message: str


@dataclass(frozen=True)
class WorkerStatus:
    """What an agent pod says: whether it is registered, how many calls it holds, which providers refuse it."""

    registered: bool
    sessions: int
    provider_errors: tuple[ProviderError, ...] = ()


@dataclass(frozen=True)
class ServerLoad:
    """What one server has to do; `names` are its rooms with somebody in them, where they can be told apart.

    None is a server that answers and does not tell.
    """

    rooms: int | None = None
    participants: int | None = None
    names: tuple[str, ...] = ()
