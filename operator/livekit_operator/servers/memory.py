"""What is remembered of a server between two passes, and what others are given of it."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime

from livekit_operator.api.livekitserver import LiveKitServerSpec
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.errors import Problem
from livekit_operator.moments import no_later
from livekit_operator.servers.decisions.breaker import Breaker
from livekit_operator.servers.decisions.key_rotation import ApiKey, KeyState
from livekit_operator.servers.host_servers import KnownHostServers
from livekit_operator.servers.manifests.keys import ServerKeys
from livekit_operator.servers.room_listing import RoomListing
from livekit_operator.views import ServerLoad


@dataclass(frozen=True)
class Credentials:
    """The keys and URLs of a LiveKitServer, which are known without asking it."""

    keys: ServerKeys
    accepted: tuple[ApiKey, ...]
    """All keys that the servers accept; webhooks are signed with any of them."""
    claims_since: datetime | None = None
    """Since when its rooms have claims."""
    salt: str = field(default="", repr=False)
    """What digests of its keys that others may read are made with."""
    uid: str = ""
    """Of the server whose keys they are."""


@dataclass
class Connection:
    """A LiveKitServer as the leader asks it: a client and the listing of its rooms."""

    client: LiveKit
    keys: ServerKeys
    """With what the client asks, without the URL of clients outside."""
    url: str
    """Where the client asks: the Service, or one server while another is lost."""
    external_url: str = ""
    """The URL of clients outside as the last pass found it, empty while there is none."""
    rooms: RoomListing = field(default_factory=RoomListing)
    missed: datetime | None = None
    """When a server was last missed."""
    answered: datetime | None = None
    """When it last answered at this URL."""
    shared: bool = False
    """Whether Redis has its rooms, and may forget them."""


@dataclass(frozen=True)
class ServerAccess:
    """A LiveKitServer as rooms use it: its client, its keys and URLs, its rooms."""

    client: LiveKit
    keys: ServerKeys
    accepted: tuple[ApiKey, ...]
    rooms: RoomListing
    claims_since: datetime | None
    shared: bool = False
    """Whether Redis has its rooms, and may forget them."""


@dataclass
class PodMemory:
    """What was seen of a server's pod at the last pass, so that one that dies is missed."""

    container: str = ""
    """Id of its container: another one means that the server died and came back without its rooms."""
    silent: int = 0
    """How often in a row it did not answer."""
    load: ServerLoad | None = None
    """What it last answered, without the listing."""
    leaving: bool = False
    deserted_since: datetime | None = None
    """Since when, leaving, it has had no participant at any pass."""
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

    def no_later(self, now: datetime) -> None:
        """Have no moment lie ahead: the clock was, and was set back to now."""
        self.deserted_since, self.withdrawn = no_later(self.deserted_since, now), no_later(self.withdrawn, now)
        self.log_read = no_later(self.log_read, now)


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

    servers: dict[Key, Connection] = field(default_factory=dict)
    """LiveKitServers that had a pass here, and so are asked for their rooms."""
    credentials: dict[Key, Credentials] = field(default_factory=dict)
    """LiveKitServer -> its keys and URLs as they were last found (servers/credentials.py)."""
    stored_keys: dict[Key, tuple[Manifest, KeyState | None]] = field(default_factory=dict)
    """LiveKitServer -> the Secret of its keys, and what that says; None for nothing that can be used."""
    unheard: dict[Key, set[str]] = field(default_factory=dict)
    """LiveKitServer -> rooms where somebody joined or left before its first pass here, which wakes them."""
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
    """LiveKitServer -> when its Gateways were last read, and what was wrong with them."""
    dialed: dict[Key, Dialed] = field(default_factory=dict)
    """LiveKitServer -> whether what leads clients to it takes connections."""
    server_pods: dict[Key, dict[str, PodMemory]] = field(default_factory=dict)
    """LiveKitServer -> pod uid -> what was seen of it before."""


def see(memory: ServersMemory, key: Key, manifest: Manifest | None) -> None:
    """Keep up with a LiveKitServer, None when it is gone: what is known of it without a pass."""
    memory.host_servers.see(key, manifest)
    if manifest is None:
        memory.credentials.pop(key, None)
        memory.stored_keys.pop(key, None)


def set_back(memory: ServersMemory, now: datetime) -> None:
    """Have no moment lie ahead: the clock was, and was set back to now."""
    for known in memory.servers.values():
        known.missed, known.answered = no_later(known.missed, now), no_later(known.answered, now)
        known.rooms.set_back(now)
    for pods in memory.server_pods.values():
        for pod in pods.values():
            pod.no_later(now)
    for key, dialed in memory.dialed.items():  # in place: passes that run hold it too
        memory.dialed[key] = replace(dialed, refused_since=no_later(dialed.refused_since, now))
    memory.gateways.clear()


async def forget(memory: ServersMemory, key: Key) -> None:
    """Forget what passes of a LiveKitServer have left, and close what was opened to it."""
    memory.key_states.pop(key, None)
    memory.unheard.pop(key, None)
    memory.breakers.pop(key, None)
    memory.lost_replica.discard(key)
    memory.pruned.pop(key, None)
    memory.checked.pop(key, None)
    memory.gateways.pop(key, None)
    memory.dialed.pop(key, None)
    clients = [pod.client for pod in memory.server_pods.pop(key, {}).values() if pod.client]
    if connection := memory.servers.pop(key, None):
        clients.append(connection.client)
    # One that cannot be closed must not keep the others open.
    await asyncio.gather(*(client.close() for client in clients), return_exceptions=True)


async def close(memory: ServersMemory) -> None:
    """Close every connection to servers, for nobody works here any more."""
    for key in {*memory.servers, *memory.server_pods, *memory.unheard}:
        await forget(memory, key)
