"""Status: an output. Written only when it changed, with an Event when readiness turned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from livekit_operator.api.common import Resource
from livekit_operator.conditions import Observed, merge, timestamp, transitions
from livekit_operator.constants import API_VERSION
from livekit_operator.errors import KubernetesError, NamespaceTerminating, NotFound
from livekit_operator.logs import ObjectLogger
from livekit_operator.reconcilers.context import Context

# Keys that stand in every status whatever was observed.
_COMMON = ("observedGeneration", "conditions")


@dataclass(frozen=True)
class Outcome:
    """What a pass found out: status fields, conditions, and when to look again (seconds).

    `fields` None keeps the fields written last, for a pass that could not look.
    """

    conditions: Sequence[Observed]
    fields: dict[str, Any] | None = field(default_factory=dict)
    again: float | None = None


async def write(context: Context, resource: Resource, outcome: Outcome) -> None:
    """Write the status if it changed, and tell a turn of readiness as an Event and in the log."""
    old = resource.status
    old_conditions = old.get("conditions") or []
    kept = {key: value for key, value in old.items() if key not in _COMMON}
    fields = kept if outcome.fields is None else {k: v for k, v in outcome.fields.items() if v is not None}
    new = {
        **fields,
        "observedGeneration": resource.metadata.generation,
        "conditions": merge(
            old_conditions, outcome.conditions, generation=resource.metadata.generation, now=context.now()
        ),
    }
    patch = merge_patch(old, new)
    if not patch:
        return
    kind = type(resource).__name__
    try:
        written = await context.kubernetes.merge(kind, *resource.key, {"status": patch}, subresource="status")
    except NotFound:
        context.resources[kind].remove(resource.key, resource.metadata.uid)  # deleted, whatever the watch missed
        return
    context.resources[kind].put(written)
    for told in transitions(old_conditions, outcome.conditions):
        ObjectLogger(kind, *resource.key).info("%s: %s", told.reason, told.message)
        await emit(context, resource, told.type, told.reason, told.message)


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that makes `new` of `old`: what is gone, at any depth, is None (RFC 7396)."""
    patch: dict[str, Any] = {}
    for key in old.keys() | new.keys():
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            patch[key] = merge_patch(before, after)
        else:
            patch[key] = after
    return patch


async def emit(context: Context, resource: Resource, event_type: str, reason: str, message: str) -> None:
    """Write an Event about a resource. An Event that cannot be written stops nothing."""
    kind, now = type(resource).__name__, timestamp(context.now())
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{resource.metadata.name}.", "namespace": resource.metadata.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": kind,
            "namespace": resource.metadata.namespace,
            "name": resource.metadata.name,
            "uid": resource.metadata.uid,
        },
        "type": event_type,
        "reason": reason,
        "message": message[:1024],
        "source": {"component": "livekit-operator"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        await context.kubernetes.create(event)
    except NamespaceTerminating:
        return
    except KubernetesError as error:
        ObjectLogger(kind, *resource.key).warning("event %s not written: %s", reason, error)
