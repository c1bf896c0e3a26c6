"""The outside as deciding sees it: rooms, participants, dispatches and workers as plain values."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """An agent that a server asks for when it makes a room; `attributes` as pairs."""

    agent_name: str
    metadata: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    deployment: str = ""


# Of a room's metadata as a server tells it: longer ones are only compared, and would fill the memory.
_MOST_METADATA = 256


def remembered(metadata: str) -> str:
    """Return a room's metadata as it is kept of a listing: a long one as its digest, which is enough to compare it."""
    if len(metadata) <= _MOST_METADATA:
        return metadata
    return "sha256:" + hashlib.sha256(metadata.encode(errors="replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """What a room is made with; timeouts in seconds, delays in milliseconds. 0 and "" leave it to preset and server.

    A server tells the first five of its rooms, and never the others.
    """

    name: str
    max_participants: int
    empty_timeout: int
    departure_timeout: int
    metadata: str
    preset: str = ""
    min_playout_delay: int = 0
    max_playout_delay: int = 0
    sync_streams: bool = False
    agents: tuple[AgentRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class RoomView:
    """A room on the server; `participants` does not count agents, `publishers` does. Metadata as `remembered`."""

    sid: str
    settings: RoomSettings
    participants: int = 0
    publishers: int = 0

    @property
    def name(self) -> str:
        """Return the room's name."""
        return self.settings.name


@dataclass(frozen=True, slots=True)
class ParticipantView:
    """A participant of a room; `agent_name` is None for people, `state` what an agent does: listening, speaking.

    Who has joined is `connected` once media can flow: signalling alone brings nobody's voice. `age` is how many seconds
    it has been there, `publishes` whether it has tracks of its own.
    """

    identity: str
    agent_name: str | None = None
    state: str = ""
    connected: bool = True
    age: float = 0.0
    publishes: bool = False


@dataclass(frozen=True, slots=True)
class JobView:
    """A worker's promise to send an agent, which will join, or has joined, under this identity."""

    id: str
    identity: str


@dataclass(frozen=True, slots=True)
class DispatchView:
    """A request for an agent; `age` in seconds. `jobs` are those that workers accepted, dead ones included."""

    id: str
    agent_name: str
    age: float
    deployment: str = ""
    """The workers it goes to: of that deployment, or those without one."""
    jobs: tuple[JobView, ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderError:
    """A provider that refuses an agent pod; `role` is its place in `spec.agent`, `code` the HTTP status.

    `covered`: another provider of the same role answers, so that calls go on.
    """

    role: str
    provider: str
    code: int
    message: str
    covered: bool = False


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """A call of a worker: its id, as LiveKit's dispatches name it, and its room.

    `state` is what its agent does (listening, speaking), `last_active` when it began to; None when it does not say.
    `dispatch` is the id of the request that it was taken for, empty when it does not say.
    """

    id: str
    room: str
    started: datetime | None = None
    state: str | None = None
    last_active: datetime | None = None
    dispatch: str = ""


@dataclass(frozen=True, slots=True)
class EndedJob:
    """How a call of a worker ended: well, or by a failure, of which `error` has the last words.

    `dispatch` is the id of the request that it was taken for, empty when it does not say, `at` when it ended by the
    pod's clock, and `seconds` how long it had lasted, None when it does not say. One that was `cut` off lost its
    connection or its worker, which is no fault of the agent's.
    """

    id: str
    room: str
    failed: bool
    error: str = ""
    dispatch: str = ""
    at: datetime | None = None
    seconds: int | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call that ended, when that was seen, or before by its pod where nobody looked, and the pod that had it."""

    job: EndedJob
    at: datetime
    pod: str
    version: str = ""
    """Of that pod: it changes with the pool's spec and with the Secrets and ConfigMaps that it names."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What an agent pod says: whether it is registered, how many calls it holds, which providers refuse it.

    What a worker without the runner cannot say is None.
    """

    registered: bool | None
    sessions: int
    provider_errors: tuple[ProviderError, ...] = ()
    capacity: int | None = None
    """Calls that it takes at most."""
    agent_name: str | None = None
    """The name it registered with."""
    deployment: str | None = None
    """The deployment it registered with, empty when with none."""
    jobs: tuple[WorkerJob, ...] | None = None
    """Its calls, those included that it has just accepted."""
    ended: tuple[EndedJob, ...] = ()
    """Those of its calls that ended last."""
    not_applied: tuple[str, ...] = ()
    """What the runner could not do in this image, in words."""
    started: int = 0
    """Calls since the worker started."""
    failed: int = 0
    """Those of them that ended by a failure."""
    load: float | None = None
    """Its own measure of load, for a worker without the runner."""
    draining: bool = False
    """Whether it takes no more calls and ends with those it has."""
    not_ready: tuple[str, ...] = ()
    """Why it is not ready, in the runner's words."""
    publishers: bool = False
    """Whether it takes a job for each participant that publishes, not one for the room (livekit-agents ServerType)."""


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """The load of one server; `names` are its rooms with somebody in them, where they are known.

    None is a server that answers and does not tell. `listing` is all its rooms, where it was asked for them.
    """

    rooms: int | None = None
    participants: int | None = None
    names: tuple[str, ...] = ()
    listing: Sequence[RoomView] | None = None
