"""What passes of pools are given: all that servers' passes are, and what is known of pools."""

from dataclasses import dataclass, field

from livekit_operator.engine.cache import Key
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.servers.context import Context as ServersContext


@dataclass
class Context(ServersContext):
    """What is known of VoiceAgentPools between passes, beside what is known of servers."""

    pools: dict[Key, PoolMemory] = field(default_factory=dict)
    """Pool -> what its passes and those of its rooms tell each other."""

    def pool_memory(self, pool: Key) -> PoolMemory:
        """Return what is known of a pool between passes."""
        return self.pools.setdefault(pool, PoolMemory(namespace=pool[0]))
