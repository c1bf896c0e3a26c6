"""What every reconciler is given: clients, caches and the servers known so far. No module globals."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from livekit_operator.api.common import Resource
from livekit_operator.api.livekitserver import LiveKitServerSpec
from livekit_operator.brakes import Brakes
from livekit_operator.breaker import Breaker
from livekit_operator.clients.kubernetes import Kubernetes
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.clients.server_load import ServerLoads
from livekit_operator.clients.tcp import refuses
from livekit_operator.clients.worker import Worker
from livekit_operator.conditions import holds
from livekit_operator.constants import CONDITION_READY
from livekit_operator.dispatching import Decision
from livekit_operator.engine.cache import Key, Manifest, ObjectCache
from livekit_operator.errors import Blocked
from livekit_operator.key_rotation import ApiKey, KeyState
from livekit_operator.metrics import Metrics
from livekit_operator.pool_memory import PoolMemory
from livekit_operator.reconcilers.event_series import EventSeries
from livekit_operator.reconcilers.host_servers import KnownHostServers
from livekit_operator.reconcilers.users import Users
from livekit_operator.resources.meetingroom import ServerKeys
from livekit_operator.settings import Settings
from livekit_operator.views import RoomView

CHILD_KINDS = (
    "Pod",
    "Secret",
    "Service",
    "ConfigMap",
    "Deployment",
    "ServiceAccount",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "Ingress",
)
# Kinds of other projects, which a cluster need not have: looked up when they are asked for, not watched.
OPTIONAL_KINDS = ("HTTPRoute", "Certificate")


# A room that a server has though no listing tells of it is asked for anew after so many of them: nothing tells its end.
_UNLISTED_LISTINGS = 12


class RoomListing:
    """The rooms of one server: a listing every few seconds, kept fresh by our own writes and by webhooks."""

    def __init__(self) -> None:
        self._rooms: dict[str, RoomView] = {}
        self._touched: set[str] = set()
        self.listed = False
        self._lonely_since: dict[str, datetime] = {}
        self._unlisted: dict[str, int] = {}
        self.lively: set[str] = set()
        """Names of rooms where somebody came or went: their participants are worth a look."""
        self.doubtful: set[str] = set()
        """Names of rooms that may be listed though the server they lived on is lost."""
        self._closed: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, name: str) -> RoomView | None:
        """Return a room, None when the server has none of that name."""
        return self._rooms.get(name)

    def listing_seconds(self, least: float) -> float:
        """Return how long to wait for the next listing: a second for each thousand rooms, which take 2 % of it."""
        return max(least, len(self) / 1000)

    def start_listing(self) -> None:
        """Begin a listing: what is put from now on is newer than what it brings."""
        self._touched.clear()

    def finish_listing(self, rooms: Iterable[RoomView]) -> set[str] | None:
        """Take over a listing; return the names of rooms that changed, None for the first one: all may have."""
        listed = {room.name: room for room in rooms}
        self._unlisted = {name: left - 1 for name, left in self._unlisted.items() if left and name not in listed}
        for name in self._touched:
            listed.pop(name, None)
        for name in (*self._touched, *self._unlisted):
            if name in self._rooms:
                listed[name] = self._rooms[name]
        known = self._rooms
        changed = {name for name, room in listed.items() if room is not known.get(name) and room != known.get(name)}
        changed |= known.keys() - listed.keys()
        self._rooms = listed
        # After a start everything is new, and an empty room is not worth a look.
        news = changed if self.listed else {name for name, room in listed.items() if room.participants}
        self.lively = (self.lively | news) & listed.keys()
        self.doubtful &= listed.keys()
        self._lonely_since = {name: since for name, since in self._lonely_since.items() if name in listed}
        first, self.listed = not self.listed, True
        return None if first else changed

    def doubt(self) -> None:
        """Doubt every room: a server is lost, and Redis still lists what lived on it."""
        self.doubtful = set(self._rooms)

    def put(self, room: RoomView) -> None:
        """Remember what the server just said of a room."""
        self._rooms[room.name] = room
        self._closed.pop(room.name, None)
        self.doubtful.discard(room.name)
        self._touched.add(room.name)

    def put_unlisted(self, room: RoomView) -> None:
        """Remember a room that the server has, but that its Redis has forgotten: listings do not tell of it."""
        self.put(room)
        self._unlisted[room.name] = _UNLISTED_LISTINGS

    def is_unlisted(self, name: str) -> bool:
        """Return whether Redis has forgotten a room, and so who is in it."""
        return name in self._unlisted

    def remove(self, name: str) -> None:
        """Remember that a room is gone."""
        self._rooms.pop(name, None)
        self._unlisted.pop(name, None)
        self._closed.pop(name, None)
        self._touched.add(name)

    def close(self, name: str, sid: str) -> None:
        """Remember that the server said that it has closed this very room."""
        self.remove(name)
        self._closed[name] = sid

    def is_closed(self, name: str, sid: str) -> bool:
        """Return whether the server said that it has closed this very room: others may be forgotten by its Redis."""
        return self._closed.get(name) == sid

    def lonely_seconds(self, name: str, *, people: int, now: datetime) -> float:
        """Return since when, in seconds, no person was seen in a room at any look, this one included."""
        if people:
            self._lonely_since.pop(name, None)
            return 0.0
        return (now - self._lonely_since.setdefault(name, now)).total_seconds()

    def forget(self) -> None:
        """Forget everything but doubts, which are about what is listed next: the server does not answer."""
        self._rooms.clear()
        self._touched.clear()
        self._unlisted.clear()
        self._closed.clear()
        self.lively.clear()
        self.listed = False


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
class AskedAgent:
    """How often a room was given an agent of one name, which it has in memory only: LiveKit does not count."""

    attempts: int = 0
    """Requests in a row that brought nobody."""
    calls: int = 0
    """Requests in all."""
    unconnected: bool = False
    """Whether the last one that came did not come to be connected."""

    def note(self, decision: Decision) -> None:
        """Take over what was decided: an agent that comes in vain makes the next pause longer, also after a wait."""
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

    shown: Sequence[Manifest]
    due: datetime | None
    problem: Blocked | None = None
    note: str | None = None
    """What is to be told though every token is there."""


@dataclass(frozen=True)
class KeptTokens:
    """Tokens that were right at the last look, what they were made of, and the Secrets that were there then."""

    inputs: tuple[object, ...]
    secrets: Sequence[Manifest]
    tokens: Tokens


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


@dataclass(frozen=True)
class HangingPod:
    """What the kubelet said, when it was asked last, of a pod whose containers do not start; None for nothing."""

    asked: datetime
    words: str | None


def node_facts(node: Manifest) -> Manifest:
    """Return the little of a Node that counts here; whole ones list every image they hold."""
    metadata = {key: node["metadata"].get(key) for key in ("name", "uid", "resourceVersion", "labels")}
    ready = holds((node.get("status") or {}).get("conditions"), CONDITION_READY)
    spec = {"unschedulable": bool((node.get("spec") or {}).get("unschedulable"))}
    listed = (node.get("status") or {}).get("addresses") or ()
    public = next((str(one.get("address") or "") for one in listed if one.get("type") == "ExternalIP"), "")
    return {"kind": "Node", "metadata": metadata, "spec": spec, "ready": ready, "public": public}


def utc_now() -> datetime:
    """Return the time now."""
    return datetime.now(UTC)


# The queue of rooms that no resource declares. Their keys hold what no resource's can.
UNDECLARED_ROOM = "UndeclaredRoom"


def undeclared_room(server: Key, name: str) -> Key:
    """Return the key of a room that no MeetingRoom declares."""
    return "/".join(server), name


def is_undeclared(room: Key) -> bool:
    """Return whether a key is of a room that no MeetingRoom declares."""
    return "/" in room[0]


@dataclass
class Context:
    """Everything that reconciling needs from outside."""

    kubernetes: Kubernetes
    worker: Worker
    loads: ServerLoads
    connect: Callable[[str, str, str], LiveKit]
    """Makes a LiveKit client from a URL, an API key and its secret."""
    settings: Settings
    metrics: Metrics
    wake: Callable[[str, Key], None]
    """Makes a key of a kind ready to be reconciled."""
    now: Callable[[], datetime] = utc_now
    refuses: Callable[[str, int], Awaitable[bool]] = refuses
    """Tells whether connections to an address and a port are refused."""
    resources: dict[str, ObjectCache] = field(default_factory=dict)
    """Kind -> our own resources."""
    children: dict[str, ObjectCache] = field(default_factory=lambda: {kind: ObjectCache() for kind in CHILD_KINDS})
    """Kind -> objects that carry our label."""
    servers: dict[Key, ServerAccess] = field(default_factory=dict)
    """LiveKitServers whose keys and URL are known."""
    breakers: dict[Key, Breaker] = field(default_factory=dict)
    """LiveKitServer -> whether its rooms may ask it, or wait because it hangs."""
    orphaning: dict[tuple[str, Key], str] = field(default_factory=dict)
    """Kind and key of resources that are deleted with `--cascade=orphan` -> their uid."""
    unanswered: dict[Key, datetime] = field(default_factory=dict)
    """MeetingRoom -> since when no node of its server answers for it."""
    events: EventSeries = field(default_factory=EventSeries)
    """What was told of whom lately."""
    pools: dict[Key, PoolMemory] = field(default_factory=dict)
    """Pool -> what its passes and those of its rooms tell each other."""
    asked_agents: dict[Key, dict[str, AskedAgent]] = field(default_factory=dict)
    """Room -> name of the agent -> how it was asked for."""
    claims: dict[Key, tuple[str, str]] = field(default_factory=dict)
    """MeetingRoom -> its uid and the name of the room that is its own, should somebody take its claim off."""
    kept_tokens: dict[Key, KeptTokens] = field(default_factory=dict)
    """MeetingRoom -> its tokens, so that a room of hundreds is not gone through whenever somebody joins."""
    foreign_secrets: dict[Key, tuple[datetime, Manifest | None]] = field(default_factory=dict)
    """Secrets of others that were read a moment ago, None where there was none, and when."""
    users: Users = field(default_factory=Users)
    """Who refers to whom."""
    host_servers: KnownHostServers = field(default_factory=KnownHostServers)
    """Servers on the host network, by their ports."""
    understood: dict[tuple[str, Key], tuple[Manifest, Resource]] = field(default_factory=dict)
    """Servers and pools as last parsed for others that refer to them, and from what: each pass of a room needs both."""
    nodes: ObjectCache = field(default_factory=lambda: ObjectCache(keep=node_facts))
    """The cluster's nodes, as far as they count: labels, whether they take pods, and whether they are there."""
    key_states: dict[Key, tuple[str, KeyState]] = field(default_factory=dict)
    """LiveKitServer -> its uid and its keys as last written, to bring back a Secret that somebody changes."""
    checked: dict[Key, Checked] = field(default_factory=dict)
    """LiveKitServer -> the last check of its configuration."""
    bereaved: set[Key] = field(default_factory=set)
    """LiveKitServers that lost one of their servers, and whose rooms could not be listed since."""
    pruned: dict[Key, tuple[str, LiveKitServerSpec]] = field(default_factory=dict)
    """LiveKitServer -> its uid and the spec for which objects of optional kinds were last looked for."""
    gateways: dict[Key, tuple[datetime, Blocked | None]] = field(default_factory=dict)
    """LiveKitServer -> when its Gateways were last looked at, and what was wrong with them."""
    dialed: dict[Key, Dialed] = field(default_factory=dict)
    """LiveKitServer -> whether what leads clients to it takes connections."""
    hanging: dict[str, HangingPod] = field(default_factory=dict)
    """uid of a pod that does not start -> what the kubelet says of it."""
    server_pods: dict[Key, "dict[str, PodMemory]"] = field(default_factory=dict)
    """LiveKitServer -> pod uid -> what was seen of it before."""

    brakes: dict[tuple[str, Key], Brakes] = field(default_factory=dict)
    """Resource -> how often its passes made and wrote what."""

    def brakes_of(self, resource: Resource) -> Brakes:
        """Return the brakes of a resource, new ones for a new one of the same name."""
        ident = (type(resource).__name__, resource.key)
        known = self.brakes.get(ident)
        if known is None or known.uid != resource.metadata.uid:
            known = self.brakes[ident] = Brakes(resource.metadata.uid)
        return known

    def pool_memory(self, pool: Key) -> PoolMemory:
        """Return what is known of a pool between passes."""
        return self.pools.setdefault(pool, PoolMemory(namespace=pool[0]))

    def wake_users(self, server: Key) -> None:
        """Have every pool and room of a server looked at."""
        for kind, key in self.users.of_server(server):
            self.wake(kind, key)

    def wake_room(self, server: Key, room_name: str) -> None:
        """Have the resources of a room on a server looked at, or the room itself where it has none."""
        declared = self.users.of_room(server, room_name)
        for key in declared:
            self.wake("MeetingRoom", key)
        if not declared and self.users.with_prefix(server):
            self.wake(UNDECLARED_ROOM, undeclared_room(server, room_name))

    def wake_served(self, room: Key) -> None:
        """Have a room looked at that a pool knows."""
        self.wake(UNDECLARED_ROOM if is_undeclared(room) else "MeetingRoom", room)

    def wake_rooms_of_pool(self, pool: Key) -> None:
        """Have every room that a pool serves looked at."""
        for key in self.users.of_pool(pool):
            self.wake("MeetingRoom", key)
