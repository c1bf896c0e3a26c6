"""What is remembered of a room between two passes: its tokens, and how its agents were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from livekit_operator.api.tokens import TokenStatus
from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.errors import Problem
from livekit_operator.rooms.decisions.dispatching import Decision


@dataclass
class AskedAgent:
    """How often a room asked for an agent of one name. In memory only, because LiveKit does not count."""

    attempts: int = 0
    """Requests in a row that brought nobody."""
    calls: int = 0
    """Requests in all."""
    unconnected: bool = False
    """Whether the last one that joined was not connected."""

    def note(self, decision: Decision) -> None:
        """Note what was decided: an agent that joins in vain makes the next pause longer, even after a wait."""
        if decision.unconnected:
            self.unconnected = True
        elif decision.state in ("Joined", "Waiting"):
            self.unconnected = False
        vain = self.attempts if self.unconnected and decision.state == "Unavailable" else 0
        self.attempts = max(decision.attempts, vain)
        self.calls += decision.create


@dataclass(frozen=True)
class Tokens:
    """The token Secrets of a room: as its status tells of them, when the next one is due, and the first problem."""

    shown: Sequence[TokenStatus]
    due: datetime | None
    problem: Problem | None = None
    note: str | None = None
    """What is to be told though every token is there."""


@dataclass(frozen=True)
class KeptTokens:
    """Tokens that were right at the last look, what they were made of, and the Secrets that were there then."""

    inputs: tuple[object, ...]
    secrets: Sequence[Manifest]
    tokens: Tokens


@dataclass
class RoomsMemory:
    """What is known of rooms between passes, of those that no MeetingRoom declares too."""

    unanswered: dict[Key, datetime] = field(default_factory=dict)
    """MeetingRoom -> since when no node of its server answers for it."""
    asked_agents: dict[Key, dict[str, AskedAgent]] = field(default_factory=dict)
    """Room -> name of the agent -> how it was asked for."""
    claims: dict[Key, tuple[str, str]] = field(default_factory=dict)
    """MeetingRoom -> its uid and the name of the room that is its own, should somebody take its claim off."""
    kept_tokens: dict[Key, KeptTokens] = field(default_factory=dict)
    """MeetingRoom -> its tokens, so that a room of hundreds is not gone through whenever somebody joins."""


async def forget(memory: RoomsMemory, key: Key) -> None:
    """Forget a MeetingRoom that is gone."""
    memory.asked_agents.pop(key, None)
    memory.kept_tokens.pop(key, None)
    memory.unanswered.pop(key, None)
    memory.claims.pop(key, None)
