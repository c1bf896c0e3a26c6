"""The group that follows the cluster: caches, and all that is kept up with every change of a resource.

It only reads: whoever has it knows what there is, who refers to whom, and the keys and URLs of servers.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from livekit_operator.clients.kubernetes import Kubernetes
from livekit_operator.constants import GROUP, MANAGED_SELECTOR
from livekit_operator.engine.cache import Key, Manifest, ObjectCache, key_of, owner_of
from livekit_operator.engine.reflector import Reflector
from livekit_operator.errors import KubernetesError, NotFound
from livekit_operator.process.groups import Group
from livekit_operator.process.wiring import (
    Row,
    child_kinds,
    deployed,
    own_facts,
    public_facts,
    resource_kinds,
    take_in,
)
from livekit_operator.reconciling.kept import ChildKeeper, Keeper, Space, Strangers
from livekit_operator.rooms.context import Context

logger = logging.getLogger(__name__)

# While the caches fill: more would only hold more of the answers at once.
_LISTINGS_AT_ONCE = 2

Make = Callable[[dict[str, ObjectCache], dict[str, ObjectCache]], Context]


class Listener(Protocol):
    """Who works on what has changed."""

    def wake(self, kind: str, key: Key) -> None:
        """Wake a key."""

    def drop(self, kind: str, key: Key) -> None:
        """Hear that a resource is gone: it is no longer due."""


class Caches:
    """What is known of the cluster. `make` gets the caches of resources and of children, and returns the context."""

    def __init__(
        self, kubernetes: Kubernetes, table: Mapping[str, Row], memory: float, make: Make, listener: Listener
    ) -> None:
        self._kubernetes = kubernetes
        self._table = table
        self._listener = listener
        space = Space(memory)
        resources: dict[str, ObjectCache] = {}
        self._strangers = Strangers(resources, deployed(table))
        for kind in resource_kinds(table):
            keeper = Keeper(kind, space)
            resources[kind] = ObjectCache(partial(self._resource_changed, kind), keeper.keep, keeper.forget)
        keepers = {kind: ChildKeeper(kind, space, self._strangers) for kind in child_kinds(table)}
        children = {
            kind: ObjectCache(keep=keeper.keep, forget=keeper.forget, left_out=keeper)
            for kind, keeper in keepers.items()
        }
        self.context = make(resources, children)
        self._resources = [
            # The caches of resources tell of changes themselves: others must also hear of a status that we wrote.
            Reflector(kubernetes, kind, cache, lambda _: None, on_missed=partial(self._missed, kind))
            for kind, cache in resources.items()
        ]
        self._children = [
            Reflector(kubernetes, kind, cache, self._child_changed, MANAGED_SELECTOR)
            for kind, cache in children.items()
        ]
        self._children.append(Reflector(kubernetes, "Node", self.context.nodes, self._node_changed))
        self._nodes: dict[tuple[str, Key], Any] = {}
        self._public: dict[tuple[str, Key], Any] = {}
        self._own: dict[tuple[str, Key], Any] = {}
        self._group = Group()
        self._visits: set[asyncio.Task[None]] = set()
        self.filled = False

    async def start(self) -> None:
        """Fill the caches, however long that takes, then follow all changes."""
        turn = asyncio.Semaphore(_LISTINGS_AT_ONCE)
        for reflectors in (self._resources, self._children):  # owners before what they own
            async with asyncio.TaskGroup() as group:
                for reflector in reflectors:
                    group.create_task(reflector.fill(turn))
        self._group.run(*(reflector.run() for reflector in [*self._children, *self._resources]))
        self.filled = True

    async def stop(self) -> None:
        """Follow no more; what was known stays."""
        self.filled = False
        visits = list(self._visits)
        for visit in visits:
            visit.cancel()
        await asyncio.gather(self._group.stop(), *visits, return_exceptions=True)

    @property
    def failed(self) -> bool:
        """Return whether a part has ended by itself."""
        return self._group.failed

    def _resource_changed(self, kind: str, manifest: Manifest) -> None:
        key, ident = key_of(manifest), (kind, key_of(manifest))
        known = take_in(self.context, self._table[kind], manifest)
        if known is None:
            self._listener.drop(kind, key)
        self.context.metrics.objects.labels(kind).set(len(self.context.resources[kind]))
        # Our own status write comes back as an event: it is no reason for another pass.
        before = self._own.get(ident)
        if _turned(self._own, ident, own_facts(known)):
            left = self._strangers.pop(key) if known and (not before or before[0] != known["metadata"]["uid"]) else []
            if left:
                self._visits.add(visit := asyncio.create_task(self._look_at_strangers(kind, key, left)))
                visit.add_done_callback(self._visits.discard)
            else:
                self._listener.wake(kind, key)
        if _turned(self._public, ident, public_facts(self._table[kind], known)):
            self._table[kind].wake_users(self.context, key)

    def _missed(self, kind: str, manifest: Manifest) -> None:
        """Wake a resource, and those that refer to it, whatever it was like before.

        After the store was put back a status may be an old one, and nothing else differ.
        """
        key = key_of(manifest)
        self._listener.wake(kind, key)
        self._table[kind].wake_users(self.context, key)

    async def _look_at_strangers(self, kind: str, key: Key, left: list[tuple[str, Key]]) -> None:
        """Take in what names a resource that has just come, as a former one left it, and only then wake that."""
        for child, name in left:
            try:
                self.context.children[child].put(await self._kubernetes.get(child, *name))
            except NotFound:
                continue
            except KubernetesError as error:
                logger.warning("%s %s/%s is not taken in: %s", child, *name, error)
        self._listener.wake(kind, key)

    def _child_changed(self, manifest: Manifest) -> None:
        owner = owner_of(manifest)
        if owner and owner.group == GROUP and owner.kind in self.context.resources:
            self._listener.wake(owner.kind, (owner.namespace, owner.name))

    def _node_changed(self, manifest: Manifest) -> None:
        """Wake what uses nodes when one is to be emptied, is lost, or has other labels."""
        known = self.context.nodes.get(key_of(manifest))
        facts = (known["metadata"]["labels"], known["spec"], known["ready"]) if known else None
        if _turned(self._nodes, ("Node", key_of(manifest)), facts):
            for kind in [row.name for row in self._table.values() if row.uses_nodes]:
                for resource in self.context.resources[kind]:
                    self._listener.wake(kind, key_of(resource))


def _turned(facts: dict[tuple[str, Key], Any], ident: tuple[str, Key], now: Any) -> bool:
    """Remember facts of an object and return whether they are others than before."""
    if now is None:
        return facts.pop(ident, None) is not None
    before = facts.get(ident)
    facts[ident] = now
    return bool(before != now)
