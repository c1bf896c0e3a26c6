"""What is remembered of a room between two passes: its tokens, and how its agents were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from livekit_operator.api.tokens import TokenStatus
from livekit_operator.engine.cache import Manifest
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
