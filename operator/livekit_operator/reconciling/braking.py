"""A pass under brakes: its writes are counted, and what is held back becomes a condition.

The decisions are in `livekit_operator.reconciling.decisions.brakes`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from livekit_operator import reasons
from livekit_operator.api.common import Resource
from livekit_operator.clients.api_resources import Manifest
from livekit_operator.clients.kubernetes import Kubernetes
from livekit_operator.conditions import Observed
from livekit_operator.constants import CONDITION_DEGRADED, CONDITION_READY
from livekit_operator.errors import Problem
from livekit_operator.moments import parse_timestamp
from livekit_operator.reasons import Reason
from livekit_operator.reconciling.context import Context
from livekit_operator.reconciling.decisions.brakes import (
    WRITES_A_MINUTE,
    WRITES_OF_A_CHILD,
    Bucket,
    Held,
    MadePod,
    PodHistory,
)
from livekit_operator.reconciling.ownership import identity as owner_identity
from livekit_operator.reconciling.status import Outcome

C = TypeVar("C", bound=Context)

_MOST_TOLD = 3
_STATUS = {"True": True, "False": False}


class Counted:
    """Wraps a client of the API server, and counts the writes of one resource's passes.

    Deletions are not counted: each had its creation. Nor is the status, which has a brake of its own.
    """

    def __init__(self, kubernetes: Kubernetes, writes: Bucket) -> None:
        self._kubernetes = kubernetes
        self._writes = writes

    def __getattr__(self, name: str) -> Any:
        """Return what is not counted as it is."""
        return getattr(self._kubernetes, name)

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        self._writes.add()
        return await self._kubernetes.create(manifest)

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply an object."""
        self._writes.add()
        return await self._kubernetes.apply(manifest)

    async def merge(
        self, kind: str, namespace: str, name: str, patch: Manifest, subresource: str | None = None
    ) -> Manifest:
        """Merge-patch an object."""
        if subresource != "status":
            self._writes.add()
        return await self._kubernetes.merge(kind, namespace, name, patch, subresource)


def too_many_writes(context: Context, resource: Resource) -> Held | None:
    """Return why a resource gets no pass now: its passes wrote more than they should in a minute."""
    brakes = context.brakes_of(resource)
    now, most = context.now(), WRITES_A_MINUTE
    if brakes.writes.level >= most:
        identity = owner_identity(resource)
        children = sum(len(cache.owned_by(identity)) for cache in context.children.values())
        most += WRITES_OF_A_CHILD * children
    wait = brakes.writes.wait(most, now)
    if not wait:
        return None
    message = (
        f"More than {most} writes within a minute were needed for this resource: something changes or removes what "
        f"the operator makes. See which policies and controllers write to objects of this namespace."
    )
    return Held(Problem(reasons.TOO_MANY_WRITES, message), now + timedelta(seconds=wait))


def counted(context: C, resource: Resource) -> C:
    """Return the context with the writes of this resource counted."""
    writes = context.brakes_of(resource).writes
    return replace(context, kubernetes=cast(Kubernetes, Counted(context.kubernetes, writes)))


def observe_pods(
    context: Context, resource: Resource, component: str, pods: Iterable[Manifest], *, lasting: bool = False
) -> PodHistory:
    """Return what the brake of a component's pods knows now, to ask it how many more may be created.

    `pods` are the existing ones. To be called at each pass, and to be remembered by it (`remember_pods`), so that no
    pod that ends is missed. `lasting` ones are not deleted a moment after their creation without a change.
    """
    history = _copy(context.brakes_of(resource).pods.get(component, PodHistory()))
    made = [_made(pod) for pod in pods]
    history.see(made, resource.metadata.generation, context.now(), lasting=lasting)
    return history


def remember_pods(context: Context, resource: Resource, component: str, seen: PodHistory) -> None:
    """Keep what the brake of a component's pods was observed to know: before any of them is made or fails."""
    context.brakes_of(resource).pods[component] = _copy(seen)


def _copy(history: PodHistory) -> PodHistory:
    return replace(history, made=dict(history.made), ended=dict(history.ended))


def report_held(context: Context, resource: Resource, component: str, held: Held | None) -> None:
    """Have conditions report what holds back pods of a component, None for nothing: the brake's answer of this pass."""
    context.brakes_of(resource).hold(f"pods of {component}", held, context.now())


def note_made(context: Context, resource: Resource, component: str, pod: Manifest) -> None:
    """Note a pod that was created just now."""
    history = context.brakes_of(resource).pods.setdefault(component, PodHistory())
    history.made[pod["metadata"]["uid"]] = context.now()


def note_failed(context: Context, resource: Resource, component: str, pod: Manifest) -> None:
    """Note a pod that has ended without having been of use."""
    history = context.brakes_of(resource).pods.setdefault(component, PodHistory())
    history.fail(pod["metadata"]["uid"], _last_words(pod), context.now())


def _made(pod: Manifest) -> MadePod:
    metadata, status = pod["metadata"], pod.get("status") or {}
    finished = status.get("phase") in ("Succeeded", "Failed") and "deletionTimestamp" not in metadata
    created = parse_timestamp(metadata["creationTimestamp"])
    return MadePod(
        metadata["uid"], created, finished, "deletionTimestamp" in metadata, _last_words(pod) if finished else ""
    )


def _last_words(pod: Manifest) -> str:
    """Return what the kubelet says of a pod that has ended."""
    status = pod.get("status") or {}
    words = ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended and not words:
            words = f"{container.get('name', 'its container')} ended with exit code {ended.get('exitCode')}"
    return f"{pod['metadata']['name']}: {words or status.get('phase', '')}"[:300]


def standing(resource: Resource) -> Outcome:
    """Return the outcome that leaves conditions and fields as they are."""
    conditions = [
        Observed(one.type, _STATUS.get(one.status), Reason(one.reason), one.message) for one in resource.last.conditions
    ]
    return Outcome(conditions, None)


def with_held(outcome: Outcome, told: Sequence[Held]) -> Outcome:
    """Return an outcome whose conditions report what is held back: in `Degraded`, and why it is not ready yet."""
    if not told:
        return outcome
    first = told[0].problem
    messages = list(dict.fromkeys(held.problem.message for held in told))
    more = f" And {len(messages) - _MOST_TOLD} more." if len(messages) > _MOST_TOLD else ""
    message = " ".join(messages[:_MOST_TOLD]) + more
    conditions = []
    for one in outcome.conditions:
        if one.type == CONDITION_READY and one.status is False and one.reason == reasons.PROGRESSING:
            conditions.append(Observed.not_ready(first))
        elif one.type != CONDITION_DEGRADED:
            conditions.append(one)
        elif one.status and one.reason != first.reason:
            known = message in one.message
            conditions.append(one if known else replace(one, message=f"{one.message} {message}"))
    if not any(one.type == CONDITION_DEGRADED for one in conditions):
        conditions.append(Observed(CONDITION_DEGRADED, True, first.reason, message))
    return replace(outcome, conditions=conditions)


def soonest(again: float | None, told: Sequence[Held], now: datetime) -> float | None:
    """Return when the next pass is due: when a hold ends, if nothing is due before that."""
    due = [held.seconds(now) for held in told]
    return min([*due, *([again] if again is not None else [])], default=None)
