"""What passes of rooms are given: all that pools' passes are, and what is known of rooms."""

from dataclasses import dataclass, field
from datetime import datetime

from livekit_operator.engine.cache import Key
from livekit_operator.pools.context import Context as PoolsContext
from livekit_operator.rooms.memory import AskedAgent, KeptTokens


@dataclass
class Context(PoolsContext):
    """What is known of rooms between passes, beside what is known of servers and pools."""

    unanswered: dict[Key, datetime] = field(default_factory=dict)
    """MeetingRoom -> since when no node of its server answers for it."""
    asked_agents: dict[Key, dict[str, AskedAgent]] = field(default_factory=dict)
    """Room -> name of the agent -> how it was asked for."""
    claims: dict[Key, tuple[str, str]] = field(default_factory=dict)
    """MeetingRoom -> its uid and the name of the room that is its own, should somebody take its claim off."""
    kept_tokens: dict[Key, KeptTokens] = field(default_factory=dict)
    """MeetingRoom -> its tokens, so that a room of hundreds is not gone through whenever somebody joins."""
