"""Status: an output. Written only when it changed, with an Event when readiness changed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import orjson

from livekit_operator import conditions, reasons
from livekit_operator.api.common import Resource, Status
from livekit_operator.conditions import Observed, merge, transitions
from livekit_operator.constants import API_VERSION
from livekit_operator.errors import KubernetesError, NamespaceTerminating, NotFound, Problem
from livekit_operator.logs import ObjectLogger
from livekit_operator.moments import timestamp
from livekit_operator.reasons import Reason
from livekit_operator.reconciling.context import Context
from livekit_operator.reconciling.decisions.brakes import STATUS_WRITES_A_MINUTE
from livekit_operator.reconciling.event_series import Series, Told

_STATUS = "status"
_OFTEN = "Something else writes this status as well: see the managers of status in metadata.managedFields."
_TERMINATING = (
    "The namespace is being deleted: nothing new can be made in it, and what is there goes when its calls have ended. "
    "Nothing is to be done."
)
_TERMINATING_RETRY_SECONDS = 10.0
# Keys that stand in every status whatever was observed.
_COMMON = ("observedGeneration", "conditions")

S = TypeVar("S", bound=Status)


@dataclass(frozen=True)
class Outcome:
    """What a pass found out: status fields, conditions, and when the next one is due (seconds).

    `fields` has the kind's own, without conditions; None keeps those written last, for a pass that could not observe.
    """

    conditions: Sequence[Observed]
    fields: Status | None
    again: float | None = None
    silent: bool = False
    """Whether to leave the status as it is: nothing is known that people should hear."""
    whole: bool = True
    """Whether there is no field beside `fields`; otherwise those that are not set in it stay as they were."""


def halted(resource: Resource, problem: Problem, fields: Status | None = None) -> Outcome:
    """Return the outcome of a pass that could not go on: `fields` change, the others stay as they were."""
    told = conditions.halted([one.type for one in resource.last.conditions], resource.standing, problem)
    return Outcome(told, fields, problem.retry_after, whole=False)


def terminating(resource: Resource, fields: Status | None = None) -> Outcome:
    """Return the outcome of a pass in a namespace that is being deleted; `fields` count what is left.

    The resource itself goes last: after its pods, and after the calls on these.
    """
    problem = Problem(reasons.NAMESPACE_TERMINATING, _TERMINATING, retry_after=_TERMINATING_RETRY_SECONDS)
    return halted(resource, problem, fields)


async def write(context: Context, resource: Resource, outcome: Outcome) -> float | None:
    """Write the status if it changed, and report a change of readiness as an Event and in the log.

    Returns in how many seconds to retry what is held back: a status has a brake of its own.
    """
    old = resource.status
    old_conditions = old.get("conditions") or []
    new = {
        **_fields(old, outcome),
        "observedGeneration": resource.metadata.generation,
        "conditions": merge(
            old_conditions, outcome.conditions, generation=resource.metadata.generation, now=context.now()
        ),
    }
    if old == new:
        return None
    brakes, now = context.brakes_of(resource), context.now()
    written_as = _digest(new)
    if held := brakes.status.held(_STATUS, written_as, now):
        return held.seconds(now)
    if wait := brakes.statuses.wait(STATUS_WRITES_A_MINUTE, now):
        return wait
    kind = type(resource).__name__
    # Whole: after etcd was restored the API server may hold another status than the cache.
    patch = whole_patch(old, new)
    try:
        brakes.statuses.add()
        written = await context.kubernetes.merge(kind, *resource.key, {"status": patch}, subresource="status")
        if lost := merge_patch(written.get("status") or {}, new):
            # What it held beyond that is not in the patch.
            brakes.statuses.add()
            written = await context.kubernetes.merge(kind, *resource.key, {"status": lost}, subresource="status")
            lost = merge_patch(written.get("status") or {}, new)
    except NotFound:
        context.resources[kind].remove(resource.key, resource.metadata.uid)  # deleted, whatever the watch missed
        return None
    brakes.status.written(_STATUS, written_as, now, problem=_not_kept(lost) if lost else "", often=_OFTEN)
    context.resources[kind].put(written)
    for told in transitions(old_conditions, outcome.conditions):
        ObjectLogger(kind, *resource.key).info("%s: %s", told.reason, told.message)
        await emit(context, resource, told.type, told.reason, told.message)
    return None


def plain(status: Status) -> dict[str, Any]:
    """Return a status as it is written: the fields that were set, without those that are None."""
    return status.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)


def joined(status: S, more: S) -> S:
    """Return a status with the fields that another one sets as well."""
    return status.model_copy(update={name: getattr(more, name) for name in more.model_fields_set})


def _fields(old: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    """Return what to write beside `_COMMON`, of the fields written last and those of an outcome."""
    if outcome.fields is not None and outcome.whole:
        return plain(outcome.fields)
    kept = {key: value for key, value in old.items() if key not in _COMMON}
    if outcome.fields is None:
        return kept
    told = outcome.fields.model_dump(by_alias=True, exclude_unset=True).keys()
    return {**{key: value for key, value in kept.items() if key not in told}, **plain(outcome.fields)}


def _digest(status: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(status, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _not_kept(lost: Mapping[str, Any]) -> str:
    return (
        f"The API server does not keep status.{min(lost)} as it is written: install the CustomResourceDefinitions of "
        f"this version of the operator, or see which admission policy changes the status."
    )


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


def whole_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that makes `new` of `old`, and says all of it: also what is no other than before."""
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for key, after in new.items():
        before = old.get(key)
        patch[key] = whole_patch(before, after) if isinstance(before, dict) and isinstance(after, dict) else after
    return patch


async def emit(context: Context, resource: Resource, event_type: str, reason: Reason, message: str) -> None:
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
    """Count an Event up; return whether it still exists: the API server forgets them after an hour."""
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
