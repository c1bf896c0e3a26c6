"""What passes of servers are given: all that every pass is, and what is known of servers."""

from dataclasses import dataclass, field
from datetime import datetime

from livekit_operator.api.livekitserver import LiveKitServerSpec
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Problem
from livekit_operator.reconciling.context import Context as KitContext
from livekit_operator.servers.decisions.breaker import Breaker
from livekit_operator.servers.decisions.key_rotation import KeyState
from livekit_operator.servers.host_servers import KnownHostServers
from livekit_operator.servers.memory import Checked, Dialed, PodMemory, ServerAccess


@dataclass
class Context(KitContext):
    """What is known of LiveKitServers between passes, beside what every pass is given."""

    servers: dict[Key, ServerAccess] = field(default_factory=dict)
    """LiveKitServers whose keys and URL are known."""
    breakers: dict[Key, Breaker] = field(default_factory=dict)
    """LiveKitServer -> whether its rooms may ask it, or wait because it hangs."""
    host_servers: KnownHostServers = field(default_factory=KnownHostServers)
    """Servers on the host network, by their ports."""
    key_states: dict[Key, tuple[str, KeyState]] = field(default_factory=dict)
    """LiveKitServer -> its uid and its keys as last written, to bring back a Secret that somebody changes."""
    checked: dict[Key, Checked] = field(default_factory=dict)
    """LiveKitServer -> the last check of its configuration."""
    lost_replica: set[Key] = field(default_factory=set)
    """LiveKitServers that lost one of their servers, and whose rooms could not be listed since."""
    pruned: dict[Key, tuple[str, LiveKitServerSpec]] = field(default_factory=dict)
    """LiveKitServer -> its uid and the spec for which objects of optional kinds were last looked for."""
    gateways: dict[Key, tuple[datetime, Problem | None]] = field(default_factory=dict)
    """LiveKitServer -> when its Gateways were last looked at, and what was wrong with them."""
    dialed: dict[Key, Dialed] = field(default_factory=dict)
    """LiveKitServer -> whether what leads clients to it takes connections."""
    server_pods: dict[Key, "dict[str, PodMemory]"] = field(default_factory=dict)
    """LiveKitServer -> pod uid -> what was seen of it before."""
