"""References between resources: where they point to, and what is there as its model."""

from collections.abc import Sequence
from typing import TypeVar

from livekit_operator import reasons
from livekit_operator.api.common import ObjectRef, Resource
from livekit_operator.engine.cache import Key, Manifest, key_of
from livekit_operator.errors import Blocked, Problem
from livekit_operator.reasons import Reason
from livekit_operator.reconciling.context import Context
from livekit_operator.reconciling.understanding import NotUnderstood, parse

R = TypeVar("R", bound=Resource)


def target(resource: Resource, reference: ObjectRef) -> Key:
    """Return the key a reference of this resource points to."""
    return reference.namespace or resource.metadata.namespace, reference.name


def is_allowed(namespace: str, home: str, allowed: Sequence[str]) -> bool:
    """Return whether a namespace is home, or among those that are allowed."""
    return namespace == home or namespace in allowed or "*" in allowed


def understood(context: Context, model: type[R], manifest: Manifest) -> R:
    """Return a resource parsed; raises Blocked when it is of another version than this operator."""
    ident = model.__name__, key_of(manifest)
    known = context.understood.get(ident)
    if known is not None and known[0] is manifest and isinstance(known[1], model):
        return known[1]
    if known is not None and known[0] is manifest and isinstance(known[1], Problem):
        raise Blocked(known[1])  # anybody may ask, as often as they like: it is parsed once all the same
    try:
        parsed = parse(model, manifest)
    except NotUnderstood as problem:
        kind, name = model.__name__, manifest["metadata"]["name"]
        where = f" at {problem.path}" if problem.path else ""
        message = f"{kind} {name} is not understood{where}: {problem.why}. Correct it there."
        blocked = Blocked(Problem(Reason(f"{kind}{reasons.NOT_UNDERSTOOD}"), message))
        context.understood[ident] = manifest, blocked.problem
        raise blocked from problem
    context.understood[ident] = manifest, parsed
    return parsed
