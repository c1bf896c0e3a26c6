"""The table of kinds: a row tells all that the process needs to know of one."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from livekit_operator.api.kinds import BY_KIND, Kind
from livekit_operator.constants import ANNOTATION_CLAIM, ROOM_FINALIZER, SERVER_FINALIZER
from livekit_operator.engine.cache import Key, Manifest, key_of
from livekit_operator.engine.turns import Line
from livekit_operator.manifests.metadata import COMPONENT_REDIS
from livekit_operator.metrics import KindMetrics, Metrics
from livekit_operator.pools import links as pools_links
from livekit_operator.pools import memory as pools_memory
from livekit_operator.pools.metrics import PoolMetrics
from livekit_operator.pools.reconcile import reconcile_pool
from livekit_operator.reconciling import forgetting
from livekit_operator.reconciling.links import Link
from livekit_operator.reconciling.ownership import note_orphaning
from livekit_operator.rooms import links as rooms_links
from livekit_operator.rooms import memory as rooms_memory
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.reconcile import reconcile_room
from livekit_operator.rooms.undeclared import forget_undeclared, reconcile_undeclared_room
from livekit_operator.servers import links as servers_links
from livekit_operator.servers import memory as servers_memory
from livekit_operator.servers.links import UNDECLARED_ROOM, server_of
from livekit_operator.servers.manifests.names import CHILD_KINDS, OPTIONAL_KINDS
from livekit_operator.servers.reconcile import reconcile_server


async def _nothing(*_: object) -> None:
    """Forget nothing, where nothing is remembered."""


def _line_of_resource(context: Context, kind: str, key: Key) -> Line:
    """Return whose a key is: of its namespace, and of the server that it refers to."""
    manifest = context.resources[kind].get(key)
    return Line(key[0], (manifest and server_of(manifest)) or (key[0], None))


@dataclass(frozen=True)
class Row:
    """One kind, or one queue of what is no resource; what is left out does not concern it."""

    name: str
    reconcile: Callable[[Context, Key], Awaitable[float | None]]
    """The pass; returns the seconds until the next one, None when a change will bring it."""
    forget: Callable[[Context, Key], Awaitable[None]] = _nothing
    """Forgets what passes remember of a resource that is gone."""
    set_back: Callable[[Context, datetime], None] = lambda *_: None
    """Has no moment that is remembered lie ahead, after the clock was set back to now."""
    resource: Kind | None = None
    """How the cluster calls it; None for what is no resource."""
    children: tuple[str, ...] = ()
    """Kinds of the objects that it makes: they are watched, and a change of one wakes its owner."""
    optional_children: tuple[str, ...] = ()
    """Those that a cluster need not know: they are asked for and not watched."""
    deployed: tuple[str, ...] = ()
    """Components (a label's value) that Deployments of it run: what their pods say is known as well."""
    links: Callable[[Manifest], Iterable[Link]] = lambda _: ()
    """What a resource refers to, so that a change of that wakes it."""
    public_facts: Callable[[Manifest], Any] = lambda _: ()
    """What of a resource concerns those that refer to it."""
    wake_users: Callable[[Context, Key], None] = lambda *_: None
    """Wakes those, when that has changed."""
    see: Callable[[Context, Key, Manifest | None], None] = lambda *_: None
    """Hears of every change at once; of None when the resource is gone."""
    line_of: Callable[[Context, str, Key], Line] = _line_of_resource
    """Tells with whom a key of this kind waits for its turn."""
    first: bool = False
    """Whether others can do nothing before the first passes of this kind."""
    uses_nodes: bool = False
    """Whether a change of a node wakes all of them."""
    finalizer: str | None = None
    """What keeps a resource from going before its last pass."""
    ends_itself: bool = False
    """Whether passes delete resources whose time is over."""
    metrics: type[KindMetrics] | None = None
    """Metrics that each resource has of its own."""


async def _forget_server(context: Context, key: Key) -> None:
    known = key in context.servers
    await servers_memory.forget(context, key)
    if known:  # its children go one by one, and each of them brings its key here again
        forget_undeclared(context)


async def _forget_pool(context: Context, key: Key) -> None:
    known = key in context.pools
    await pools_memory.forget(context, key)
    if known:
        forget_undeclared(context)


TABLE: Mapping[str, Row] = {
    row.name: row
    for row in (
        Row(
            "LiveKitServer",
            reconcile_server,
            _forget_server,
            servers_memory.set_back,
            resource=BY_KIND["LiveKitServer"],
            children=CHILD_KINDS,
            optional_children=OPTIONAL_KINDS,
            deployed=(COMPONENT_REDIS,),
            public_facts=servers_links.public_facts,
            wake_users=servers_links.wake_users,
            see=servers_memory.see,
            line_of=lambda _context, _kind, key: Line(key[0], key),
            first=True,
            uses_nodes=True,
            finalizer=SERVER_FINALIZER,
        ),
        Row(
            "VoiceAgentPool",
            reconcile_pool,
            _forget_pool,
            pools_memory.set_back,
            resource=BY_KIND["VoiceAgentPool"],
            children=("Pod", "Secret", "ConfigMap", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"),
            links=pools_links.links,
            public_facts=pools_links.public_facts,
            wake_users=pools_links.wake_rooms,
            uses_nodes=True,
            metrics=PoolMetrics,
        ),
        Row(
            "MeetingRoom",
            reconcile_room,
            rooms_memory.forget,
            rooms_memory.set_back,
            resource=BY_KIND["MeetingRoom"],
            children=("Secret",),
            links=rooms_links.links,
            finalizer=ROOM_FINALIZER,
            ends_itself=True,
        ),
        Row(
            UNDECLARED_ROOM,
            reconcile_undeclared_room,
            line_of=lambda _context, _kind, key: rooms_links.undeclared_line(key),
        ),
    )
}


def resource_kinds(table: Mapping[str, Row]) -> list[str]:
    """Return the kinds that are resources."""
    return [row.name for row in table.values() if row.resource]


def child_kinds(table: Mapping[str, Row]) -> list[str]:
    """Return the kinds of all children that are watched."""
    return list(dict.fromkeys(kind for row in table.values() for kind in row.children))


def deployed(table: Mapping[str, Row]) -> dict[str, str]:
    """Return the kind of each component that a Deployment runs."""
    return {component: row.name for row in table.values() for component in row.deployed}


def make_metrics(table: Mapping[str, Row], metrics: Metrics) -> None:
    """Have the metrics of all kinds told from the start, whether there is one of the kind or not."""
    for row in table.values():
        if row.metrics:
            metrics.of(row.metrics)


async def run_pass(context: Context, row: Row, key: Key) -> float | None:
    """Run a kind's pass of one object, or forget one that is gone; return the seconds until the next pass."""
    if row.resource is None:
        return await row.reconcile(context, key)
    there = context.resources[row.name].get(key)
    uid = there["metadata"]["uid"] if there else None
    if context.remembered.get((row.name, key), uid) != uid or there is None:
        # Another one may have taken the name before the pass that would have found the former one gone.
        await forget(context, row, key)
    if uid is None:
        return None
    context.remembered[row.name, key] = uid
    return await row.reconcile(context, key)


async def forget(context: Context, row: Row, key: Key) -> None:
    """Forget what passes of a resource have left: it is gone, or they end here."""
    forgetting.forget(context, row.name, key)
    if row.metrics:
        context.metrics.of(row.metrics).forget(*key)
    await row.forget(context, key)
    context.remembered.pop((row.name, key), None)


def set_back(context: Context, table: Mapping[str, Row]) -> None:
    """Have no moment that is remembered lie ahead: the clock was, and has just been set back.

    What is to happen some seconds after such a moment would happen hours later.
    """
    now = context.now()
    forgetting.set_back(context)
    for row in table.values():
        row.set_back(context, now)


def take_in(context: Context, row: Row, changed: Manifest) -> Manifest | None:
    """Tell all who keep up with resources of a change of one; return it as it is now, None when it is gone."""
    kind, key = row.name, key_of(changed)
    known = context.resources[kind].get(key)
    note_orphaning(context, kind, key, known)
    row.see(context, key, known)
    if known is None:
        context.users.remove(kind, key)
        context.understood.pop((kind, key), None)
        context.events.forget(changed["metadata"]["uid"])
    else:
        context.users.put(kind, key, row.links(known))
    return known


def own_facts(manifest: Manifest | None) -> Any:
    """Return what an object's own pass depends on: the status is its output and does not count."""
    if manifest is None:
        return None
    metadata = manifest["metadata"]
    # A claim comes from a pass and is none of its inputs.
    annotations = {name: text for name, text in (metadata.get("annotations") or {}).items() if name != ANNOTATION_CLAIM}
    # After the store was put back another spec may have the same generation.
    spec = metadata.get("generation"), manifest.get("spec")
    return metadata["uid"], spec, metadata.get("deletionTimestamp"), annotations


def public_facts(row: Row, manifest: Manifest | None) -> Any:
    """Return what others that refer to an object depend on."""
    return None if manifest is None else row.public_facts(manifest)
