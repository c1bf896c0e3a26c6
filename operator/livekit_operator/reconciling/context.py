"""What every pass is given: clients, caches and who refers to whom. No module globals."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from livekit_operator.api.common import Resource
from livekit_operator.clients.kubernetes import Kubernetes
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.clients.server_load import ServerLoads
from livekit_operator.clients.tcp import refuses
from livekit_operator.clients.worker import Worker
from livekit_operator.conditions import holds
from livekit_operator.constants import CONDITION_READY
from livekit_operator.engine.cache import Key, Manifest, ObjectCache
from livekit_operator.errors import Problem
from livekit_operator.metrics import Metrics
from livekit_operator.reconciling.decisions.brakes import Brakes
from livekit_operator.reconciling.event_series import EventSeries
from livekit_operator.reconciling.links import Link, Users
from livekit_operator.settings import Settings


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
    children: dict[str, ObjectCache] = field(default_factory=dict)
    """Kind -> objects that carry our label."""
    orphaning: dict[tuple[str, Key], str] = field(default_factory=dict)
    """Kind and key of resources that are deleted with `--cascade=orphan` -> their uid."""
    remembered: dict[tuple[str, Key], str] = field(default_factory=dict)
    """Kind and key of resources that have had a pass -> uid of the one of which passes may remember something."""
    events: EventSeries = field(default_factory=EventSeries)
    """What was told of whom lately."""
    foreign_secrets: dict[Key, tuple[datetime, Manifest | None]] = field(default_factory=dict, repr=False)
    """Secrets of others that were read a moment ago, None where there was none, and when."""
    users: Users = field(default_factory=Users)
    """Who refers to whom."""
    understood: dict[tuple[str, Key], tuple[Manifest, Resource | Problem]] = field(default_factory=dict)
    """Resources as last parsed for those that refer to them, or why not, and from what: a thousand may refer to one."""
    nodes: ObjectCache = field(default_factory=lambda: ObjectCache(keep=node_facts))
    """The cluster's nodes, as far as they count: labels, whether they take pods, and whether they are there."""
    hanging: dict[str, HangingPod] = field(default_factory=dict)
    """uid of a pod that does not start -> what the kubelet says of it."""

    brakes: dict[tuple[str, Key], Brakes] = field(default_factory=dict)
    """Resource -> how often its passes made and wrote what."""

    def brakes_of(self, resource: Resource) -> Brakes:
        """Return the brakes of a resource, new ones for a new one of the same name."""
        ident = (type(resource).__name__, resource.key)
        known = self.brakes.get(ident)
        if known is None or known.uid != resource.metadata.uid:
            known = self.brakes[ident] = Brakes(resource.metadata.uid)
        return known

    def wake_users(self, *links: Link) -> None:
        """Wake everything that has one of these links."""
        for kind, key in self.users.of(*links):
            self.wake(kind, key)
