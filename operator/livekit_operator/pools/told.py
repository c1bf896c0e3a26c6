"""What a pool's memory tells its status: its rooms and calls at a moment, and the calls as they were listed last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from livekit_operator.api.voiceagentpool import SessionStatus
from livekit_operator.views import EndedCall


@dataclass(frozen=True)
class ToldSessions:
    """What the status told of sessions, which these were (ids of jobs), and when."""

    at: datetime
    calls: frozenset[str]
    lines: Sequence[SessionStatus]


@dataclass(frozen=True)
class Counts:
    """What a pool's memory has of its rooms and calls at a moment."""

    free: int
    """Calls that could still be taken."""
    waiting: int
    """Rooms that wait for an agent."""
    unconnected: int
    """Rooms whose agent came and was not connected in time."""
    unanswered: datetime | None
    """Since when a room asks in vain, of the one that does so for longest."""
    gone: Mapping[str, tuple[int, int]]
    """Revision -> calls begun and failed on workers that are no more."""
    ended: Sequence[EndedCall] = ()
    """How the last calls ended."""
