"""What is remembered of a room between two passes: its tokens, and how its agents were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from livekit_operator.api.tokens import TokenStatus
from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.errors import Problem
from livekit_operator.moments import all_no_later
from livekit_operator.rooms.decisions.asked import AskedAgent


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
    """Tokens that were right at the last pass, what they were made of, and the Secrets that were there then."""

    inputs: tuple[object, ...] = field(repr=False)
    secrets: Sequence[Manifest] = field(repr=False)
    """By name."""
    tokens: Tokens
    since: datetime

    def hold(self, inputs: tuple[object, ...], secrets: Sequence[Manifest], now: datetime) -> bool:
        """Return whether they are of these inputs, their Secrets are these very ones, and none is due.

        What was noted later than now, by a clock that was ahead, does not hold.
        """
        if inputs != self.inputs or len(secrets) != len(self.secrets):
            return False
        # A cache never changes what it has: another version is another object.
        if not all(one is other for one, other in zip(secrets, self.secrets, strict=True)):
            return False
        return self.since <= now and (self.tokens.due is None or now < self.tokens.due)


@dataclass
class RoomsMemory:
    """What is known of rooms between passes, of those that no MeetingRoom declares too."""

    unanswered: dict[Key, datetime] = field(default_factory=dict)
    """MeetingRoom -> since when no node of its server answers for it, or takes it."""
    asked_agents: dict[Key, dict[str, AskedAgent]] = field(default_factory=dict)
    """Room -> name of the agent -> how it was asked for."""
    claims: dict[Key, tuple[str, str]] = field(default_factory=dict)
    """MeetingRoom -> its uid and the name of the room that is its own, should somebody take its claim off."""
    kept_tokens: dict[Key, KeptTokens] = field(default_factory=dict)
    """MeetingRoom -> its tokens, so that a room of hundreds is not gone through whenever somebody joins."""


def set_back(memory: RoomsMemory, now: datetime) -> None:
    """Have no moment lie ahead: the clock was, and was set back to now."""
    memory.unanswered.update(all_no_later(memory.unanswered, now))  # in place: passes that run hold it too
    memory.kept_tokens.clear()
    for agents in memory.asked_agents.values():
        agents.update({name: asked.no_later(now) for name, asked in agents.items()})


async def forget(memory: RoomsMemory, key: Key) -> None:
    """Forget a MeetingRoom that is gone."""
    memory.asked_agents.pop(key, None)
    memory.kept_tokens.pop(key, None)
    memory.unanswered.pop(key, None)
    memory.claims.pop(key, None)
