"""Status: an output. Written only when it changed, with an Event when readiness turned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from livekit_operator.api.common import Resource
from livekit_operator.conditions import Observed, merge, timestamp, transitions
from livekit_operator.constants import API_VERSION
from livekit_operator.errors import KubernetesError, NamespaceTerminating, NotFound
from livekit_operator.logs import ObjectLogger
from livekit_operator.reconcilers.context import Context
from livekit_operator.reconcilers.event_series import Series, Told

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
    silent: bool = False
    """Whether to leave the status as it is: nothing is known that people should hear."""


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
    """Tell an Event about a resource: one that repeats is counted up, one too many left out. None stops anything."""
    kind, now = type(resource).__name__, context.now()
    series = context.events.next(Told(resource.metadata.uid, event_type, reason, message), now)
    if series is None:
        return
    try:
        if series.name is None or not await _count_up(context, resource, series, now):
            written = await context.kubernetes.create(_event(resource, series, now))
            series.name = written["metadata"]["name"]
    except NamespaceTerminating:
        return
    except KubernetesError as error:
        ObjectLogger(kind, *resource.key).warning("event %s not written: %s", reason, error)


async def _count_up(context: Context, resource: Resource, series: Series, now: datetime) -> bool:
    """Count an Event up; return whether it is there still: the API server forgets them after an hour."""
    patch = {"count": series.count, "lastTimestamp": timestamp(now), "message": series.message}
    try:
        await context.kubernetes.merge("Event", resource.metadata.namespace, series.name or "", patch)
    except NotFound:
        return False
    return True


def _event(resource: Resource, series: Series, now: datetime) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{resource.metadata.name}.", "namespace": resource.metadata.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": type(resource).__name__,
            "namespace": resource.metadata.namespace,
            "name": resource.metadata.name,
            "uid": resource.metadata.uid,
        },
        "type": series.told.type,
        "reason": series.told.reason,
        "message": series.message,
        "source": {"component": "livekit-operator"},
        "firstTimestamp": timestamp(series.first),
        "lastTimestamp": timestamp(now),
        "count": series.count,
    }
