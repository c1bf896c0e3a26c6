"""Finalizers: a resource stays until what it has outside Kubernetes, or still in use, has ended."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from livekit_operator.api.common import Resource
from livekit_operator.errors import NotFound
from livekit_operator.reconciling.context import Context

Annotations = Mapping[str, str | None]


async def add_finalizer(
    context: Context, resource: Resource, finalizer: str, annotations: Annotations | None = None
) -> bool:
    """Put a finalizer, and annotations with it, on a resource that lacks them; return whether it did."""
    has = resource.metadata.annotations
    finalizers = list(dict.fromkeys([*resource.metadata.finalizers, finalizer]))
    changed = {name: value for name, value in (annotations or {}).items() if has.get(name) != value}
    lacking = bool(changed) or len(finalizers) > len(resource.metadata.finalizers)
    if lacking:
        await _write(context, resource, finalizers, changed)
    return lacking


async def remove_finalizer(
    context: Context, resource: Resource, finalizer: str, annotations: Annotations | None = None
) -> None:
    """Remove a finalizer; without any, a resource that is being deleted is gone. It may be gone already.

    Annotations with the value None are removed with it.
    """
    with suppress(NotFound):
        finalizers = [name for name in resource.metadata.finalizers if name != finalizer]
        await _write(context, resource, finalizers, annotations or {})


async def _write(context: Context, resource: Resource, finalizers: list[str], annotations: Annotations) -> None:
    kind = type(resource).__name__
    # The version guards the list against a finalizer that somebody else adds meanwhile.
    metadata: dict[str, Any] = {"finalizers": finalizers, "resourceVersion": resource.metadata.resource_version}
    if annotations:
        metadata["annotations"] = dict(annotations)
    written = await context.kubernetes.merge(kind, *resource.key, {"metadata": metadata})
    if resource.metadata.deletion_timestamp and not finalizers:
        # Without the last one the object is gone; the watch may have reported that before this answer arrived.
        context.resources[kind].remove(resource.key)
    else:
        context.resources[kind].put(written)
