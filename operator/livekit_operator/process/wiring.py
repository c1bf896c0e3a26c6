"""The table of kinds: whose pass is which, and what of an object concerns itself and others."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from livekit_operator.conditions import find
from livekit_operator.constants import ANNOTATION_CLAIM, CONDITION_AGENTS_AVAILABLE
from livekit_operator.engine.cache import Key, Manifest, key_of
from livekit_operator.pools import memory as pools_memory
from livekit_operator.pools.decisions.agent_problems import PERSONAL_REASONS
from livekit_operator.pools.reconcile import reconcile_pool
from livekit_operator.reconciling import forgetting
from livekit_operator.reconciling.links import UNDECLARED_ROOM
from livekit_operator.reconciling.ownership import note_orphaning
from livekit_operator.rooms import memory as rooms_memory
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.reconcile import reconcile_room
from livekit_operator.rooms.undeclared import reconcile_undeclared_room, wake_undeclared
from livekit_operator.servers import memory as servers_memory
from livekit_operator.servers.reconcile import reconcile_server


@dataclass(frozen=True)
class Row:
    """One kind: what its passes do, and what forgets a resource that is gone."""

    kind: str
    reconcile: Callable[[Context, Key], Awaitable[float | None]]
    forget: Callable[[Context, Key], Awaitable[None]] | None
    """None for what is no resource, and is forgotten by its own passes."""
    see: Callable[[Context, Key, Manifest | None], None] = lambda *_: None
    """Hears of every change at once; of None when the resource is gone."""


async def _forget_server(context: Context, key: Key) -> None:
    await servers_memory.forget(context, key)
    wake_undeclared(context)


async def _forget_pool(context: Context, key: Key) -> None:
    await pools_memory.forget(context, key)
    context.metrics.forget_pool(*key)
    wake_undeclared(context)


TABLE = {
    row.kind: row
    for row in (
        Row(
            "LiveKitServer",
            reconcile_server,
            _forget_server,
            lambda context, key, manifest: context.host_servers.see(key, manifest),
        ),
        Row("VoiceAgentPool", reconcile_pool, _forget_pool),
        Row("MeetingRoom", reconcile_room, rooms_memory.forget),
        Row(UNDECLARED_ROOM, reconcile_undeclared_room, None),
    )
}


async def run_pass(context: Context, row: Row, key: Key) -> float | None:
    """Have a kind look at one object, or forget one that is gone; return the seconds until the next look."""
    if row.forget is None or key in context.resources[row.kind]:
        return await row.reconcile(context, key)
    forgetting.forget(context, row.kind, key)
    await row.forget(context, key)
    return None


def take_in(context: Context, row: Row, changed: Manifest) -> Manifest | None:
    """Tell all who keep up with resources of a change of one; return it as it is now, None when it is gone."""
    kind, key = row.kind, key_of(changed)
    known = context.resources[kind].get(key)
    note_orphaning(context, kind, key, known)
    row.see(context, key, known)
    if known is None:
        context.users.remove(kind, key)
        context.understood.pop((kind, key), None)
        context.events.forget(changed["metadata"]["uid"])
    else:
        context.users.put(kind, known)
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


def public_facts(kind: str, manifest: Manifest | None) -> Any:
    """Return what others that refer to an object depend on."""
    if manifest is None:
        return None
    status = manifest.get("status") or {}
    ready = [(c["status"], c["reason"]) for c in status.get("conditions") or () if c["type"] == "Ready"]
    if kind == "LiveKitServer":
        metadata = manifest["metadata"]
        # The spec says whom it allows, and its limits and presets what it takes.
        return ready, manifest.get("spec"), status.get("externalUrl"), metadata.get("deletionTimestamp")
    if kind == "VoiceAgentPool":
        spec = manifest.get("spec") or {}
        whom = spec.get("serverRef"), spec.get("allowedNamespaces")
        served = find(status.get("conditions"), CONDITION_AGENTS_AVAILABLE)
        # What concerns only those who wait is for the pool to tell them.
        quiet = served.get("status") == "True" or served.get("reason") in PERSONAL_REASONS
        available = None if quiet else (served.get("status"), served.get("reason"), served.get("message"))
        return ready, available, status.get("agentName"), whom
    return ()
