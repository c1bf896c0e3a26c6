"""What is remembered of a server between two passes, and what others are given of it."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from livekit_operator.api.livekitserver import LiveKitServerSpec
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Problem
from livekit_operator.servers.decisions.breaker import Breaker
from livekit_operator.servers.decisions.key_rotation import ApiKey, KeyState
from livekit_operator.servers.host_servers import KnownHostServers
from livekit_operator.servers.manifests.keys import ServerKeys
from livekit_operator.servers.room_listing import RoomListing


@dataclass
class ServerAccess:
    """A LiveKitServer as others use it: its client, its keys and URLs, its rooms."""

    client: LiveKit
    keys: ServerKeys
    accepted: tuple[ApiKey, ...]
    """All keys that the servers accept; webhooks are signed with any of them."""
    rooms: RoomListing = field(default_factory=RoomListing)
    url: str = ""
    """Where the client asks: the Service, or one server while another is lost."""
    missed: datetime | None = None
    """When a server was last missed."""
    answered: datetime | None = None
    """When it last answered at this URL."""
    claims_since: datetime | None = None
    """Since when its rooms have claims."""


@dataclass
class PodMemory:
    """What was seen of a server's pod at the last look, so that one that dies is missed."""

    container: str = ""
    """Id of its container: another one means that the server died and came back without its rooms."""
    silent: int = 0
    """How many looks in a row it did not answer."""
    leaving: bool = False
    deserted_since: datetime | None = None
    """Since when, leaving, it has had no participant at any look."""
    metrics_port: int | None = None
    """The port of its own metrics, None before it was read out of its configuration or when it has none."""
    shared: bool | None = None
    """Whether it finds others' rooms by Redis; None before its configuration was read."""
    withdrawn: datetime | None = None
    """When new clients were last led elsewhere because it is to be let go."""
    client: LiveKit | None = None
    """A client of this very server, not of the Service that leads to any."""
    key: ApiKey | None = None
    """The key of that client."""
    log_read: datetime | None = None
    """When its log was last read for what Redis refuses it."""
    refused: str | None = None
    """What that was."""
    trouble: tuple[int, str] = (-1, "")
    """How often it had been restarted when its output was read, and what that said."""


@dataclass(frozen=True)
class Checked:
    """A check of a configuration: uid of its pod, the revision of servers that it was for, and what it printed."""

    pod: str
    revision: str
    output: str


@dataclass(frozen=True)
class Dialed:
    """What came of connecting to where clients do: at which URL, and since when it refuses; None when it does not."""

    url: str
    refused_since: datetime | None


@dataclass
class ServersMemory:
    """What is known of LiveKitServers between passes."""

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
    server_pods: dict[Key, dict[str, PodMemory]] = field(default_factory=dict)
    """LiveKitServer -> pod uid -> what was seen of it before."""


async def forget(memory: ServersMemory, key: Key) -> None:
    """Forget a LiveKitServer that is gone, and close what was opened to it."""
    memory.key_states.pop(key, None)
    memory.breakers.pop(key, None)
    memory.lost_replica.discard(key)
    memory.pruned.pop(key, None)
    memory.checked.pop(key, None)
    memory.gateways.pop(key, None)
    memory.dialed.pop(key, None)
    clients = [pod.client for pod in memory.server_pods.pop(key, {}).values() if pod.client]
    if access := memory.servers.pop(key, None):
        clients.append(access.client)
    # One that cannot be closed must not keep the others open.
    await asyncio.gather(*(client.close() for client in clients), return_exceptions=True)


async def close(memory: ServersMemory) -> None:
    """Close every connection to servers, for the operator ends."""
    for key in {*memory.servers, *memory.server_pods}:
        await forget(memory, key)
