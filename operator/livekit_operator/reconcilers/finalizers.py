"""Finalizers: a resource stays until what is outside Kubernetes, or still in use, has come to its end."""

from contextlib import suppress

from livekit_operator.api.common import Resource
from livekit_operator.errors import NotFound
from livekit_operator.reconcilers.context import Context


async def add_finalizer(context: Context, resource: Resource, finalizer: str) -> None:
    """Put a finalizer on a resource that has it not."""
    if finalizer not in resource.metadata.finalizers:
        await _write(context, resource, [*resource.metadata.finalizers, finalizer])


async def remove_finalizer(context: Context, resource: Resource, finalizer: str) -> None:
    """Take a finalizer off; with the last one a resource that is being deleted is gone. It may be gone already."""
    with suppress(NotFound):
        await _write(context, resource, [name for name in resource.metadata.finalizers if name != finalizer])


async def _write(context: Context, resource: Resource, finalizers: list[str]) -> None:
    kind = type(resource).__name__
    # The version guards the list against a finalizer that somebody else adds meanwhile.
    metadata = {"finalizers": finalizers, "resourceVersion": resource.metadata.resource_version}
    written = await context.kubernetes.merge(kind, *resource.key, {"metadata": metadata})
    if resource.metadata.deletion_timestamp and not finalizers:
        # With the last one the object is gone; the watch may have said so before this answer came.
        context.resources[kind].remove(resource.key)
    else:
        context.resources[kind].put(written)
