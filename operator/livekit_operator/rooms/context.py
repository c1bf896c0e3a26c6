"""What passes of rooms are given: all that pools' passes are, and what is known of rooms."""

from dataclasses import dataclass

from livekit_operator.pools.context import Context as PoolsContext
from livekit_operator.rooms.memory import RoomsMemory


@dataclass
class Context(RoomsMemory, PoolsContext):
    """What is known of rooms between passes, beside what is known of servers and pools."""
