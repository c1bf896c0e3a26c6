"""What passes of servers are given: all that every pass is, and what is known of servers."""

from dataclasses import dataclass

from livekit_operator.reconciling.context import Context as KitContext
from livekit_operator.servers.memory import ServersMemory


@dataclass
class Context(ServersMemory, KitContext):
    """What is known of LiveKitServers between passes, beside what every pass is given."""
