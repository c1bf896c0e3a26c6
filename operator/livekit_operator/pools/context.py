"""What passes of pools are given: all that servers' passes are, and what is known of pools."""

from dataclasses import dataclass

from livekit_operator.pools.memory import PoolsMemory
from livekit_operator.servers.context import Context as ServersContext


@dataclass
class Context(PoolsMemory, ServersContext):
    """What is known of VoiceAgentPools between passes, beside what is known of servers."""
