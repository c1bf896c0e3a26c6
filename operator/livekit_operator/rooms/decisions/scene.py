"""A room as far as its agents matter: what deciding on them is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from livekit_operator.api.meetingroom import DispatchPolicy, RestartPolicy
from livekit_operator.errors import Problem
from livekit_operator.rooms.decisions.asked import AskedAgent
from livekit_operator.views import DispatchView, EndedCall, ParticipantView


@dataclass(frozen=True)
class PoolFacts:
    """What deciding needs of a pool that is to serve the room."""

    shown: str
    """As the room's status names it."""
    agent_name: str
    policy: DispatchPolicy
    usable: bool = True
    place: bool = False
    """Whether it has a place for this room."""
    canary: str | None = None
    """The deployment of its canary, None when it has none."""
    canary_weight: int = 0
    canary_place: bool = False
    lost: frozenset[str] = frozenset()
    """Ids of jobs whose worker is known to be dead."""
    taken: frozenset[str] = frozenset()
    """Ids of dispatches whose jobs workers hold."""
    looked_seconds: float = 0.0
    """Since when (seconds) that is known."""
    ended: Sequence[EndedCall] = ()
    """How its agents' jobs in this room ended, the last one last."""
    restart: RestartPolicy = "OnFailure"
    tells: bool = False
    """Whether its workers say what becomes of jobs."""
    publishers: bool = False
    """Whether its workers take a job for each who publishes."""
    pods: frozenset[str] = frozenset()
    """Names of its pods that may be called."""
    versions: frozenset[str] = frozenset()
    """Of these."""
    problem: Problem | None = None
    """Why none of its agents comes to any room."""
    unserved: Problem | None = None
    """Why rooms that wait get none."""
    full_share: str | None = None
    """The room's namespace, where that has its share of the places."""


@dataclass(frozen=True)
class Reported:
    """What the status last said of a pool."""

    agent_name: str
    state: str = ""
    activity: str | None = None
    left_at: datetime | None = None


@dataclass(frozen=True)
class Scene:
    """A room as far as its agents matter; `pools` in the order of the spec."""

    room: str
    """Its name on the server."""
    pools: Sequence[PoolFacts]
    now: datetime
    need: Literal["Known", "Unknown", "None"]
    """Whether it is known who is there, or that nobody needs an agent."""
    before: Mapping[str, Reported] = field(default_factory=dict)
    """Pool -> what was last reported of it."""
    asked: Mapping[str, AskedAgent] = field(default_factory=dict)
    """Name of an agent -> how it was asked for."""
    participants: Sequence[ParticipantView] = ()
    dispatches: Sequence[DispatchView] = ()
    lonely_seconds: float = 0.0
    called: bool = False
    """Whether people ask for agents anew, whatever became of those before."""
    again: float | None = None
    """When the next pass is due while it is not known who is there (seconds)."""

    @property
    def people(self) -> tuple[tuple[str, datetime], ...]:
        """Return who is there, and since when."""
        people = (person for person in self.participants if person.agent_name is None)
        return tuple((person.identity, self.now - timedelta(seconds=person.age)) for person in people)

    def requests(self, pool: PoolFacts) -> list[DispatchView]:
        """Return the dispatches that ask for a pool's agent; without a name they are for workers of nobody's."""
        return [dispatch for dispatch in self.dispatches if pool.agent_name and dispatch.agent_name == pool.agent_name]
