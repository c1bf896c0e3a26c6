"""Resources as models, and what is reported of those that cannot be parsed.

The API server has validated them, but not what its schemas leave free: depth, size, and what another version of the
CustomResourceDefinitions lets through.
"""

from typing import TypeVar

from pydantic import ValidationError

from livekit_operator import reasons
from livekit_operator.api.common import Metadata, Resource
from livekit_operator.clients.decoding import UNREAD
from livekit_operator.constants import GROUP
from livekit_operator.engine.cache import Manifest, key_of
from livekit_operator.errors import NotFound, OperatorError, Problem
from livekit_operator.logs import ObjectLogger
from livekit_operator.reconciling import status
from livekit_operator.reconciling.context import Context
from livekit_operator.reconciling.finalizers import remove_finalizer
from livekit_operator.reconciling.kept import NO_SPACE

R = TypeVar("R", bound=Resource)

# When to check again whether there is memory for a resource for which there was none.
_NO_SPACE_RETRY_SECONDS = 60.0


class NotUnderstood(OperatorError):
    """A resource that cannot be parsed: the `path` of the field that is wrong, empty for all of it, and why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}" if path else why)
        self.path = path
        self.why = why


def parse(model: type[R], manifest: Manifest) -> R:
    """Return a resource as its model; raises NotUnderstood."""
    if UNREAD in manifest:
        raise NotUnderstood("", manifest[UNREAD])
    try:
        return model.model_validate(manifest)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise NotUnderstood(path, first["msg"].removeprefix("Value error, ")) from error


async def tell(context: Context, model: type[Resource], manifest: Manifest, problem: NotUnderstood) -> float | None:
    """Report that a resource is not understood; return the seconds until the next pass.

    One that is being deleted is released: nobody knows what to wait for.
    """
    logger = ObjectLogger(model.__name__, *key_of(manifest))
    logger.error("not understood: %s", problem)
    try:
        metadata = Metadata.model_validate(manifest["metadata"])
    except ValidationError:
        return None
    resource = model.model_construct(metadata=metadata, status=manifest.get("status") or {})
    if metadata.deletion_timestamp:
        for finalizer in [name for name in metadata.finalizers if name.startswith(f"{GROUP}/")]:
            await remove_finalizer(context, resource, finalizer)
        return None
    await status.write(context, resource, status.halted(resource, Problem(reasons.NOT_UNDERSTOOD, _message(problem))))
    return _NO_SPACE_RETRY_SECONDS if problem.why == NO_SPACE else None


async def read_again(context: Context, kind: str, manifest: Manifest) -> Manifest | None:
    """Return a resource for which there was no memory as it is now, if there is memory now."""
    if manifest.get(UNREAD) != NO_SPACE:
        return manifest
    cache, key = context.resources[kind], key_of(manifest)
    try:
        found = await context.kubernetes.get(kind, *key)
    except NotFound:
        return None  # the watch is about to report it
    cache.doubt({key})
    cache.put(found)
    return cache.get(key)


def _message(problem: NotUnderstood) -> str:
    what = f"{problem.path} is not understood" if problem.path else "This resource is not read"
    return f"{what}: {problem.why}. Change that: nothing new is done for it until then, and what runs goes on."
