"""Whose an object is, and adopting what a former owner of the same name has left.

A restored backup, or `kubectl delete --cascade=orphan`, leaves children without an owner or with one whose uid no
longer exists. They are adopted if namespace, name and labels are those that the operator itself would write and nobody
else controls them; anything else stays untouched.
"""

from collections.abc import Callable
from typing import Any

from livekit_operator import reasons
from livekit_operator.api.common import Resource
from livekit_operator.constants import (
    GROUP,
    LABEL_COMPONENT,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    ORPHAN_FINALIZER,
)
from livekit_operator.engine.cache import Key, Manifest, Owner, key_of, owner_of
from livekit_operator.errors import Conflict, NotFound, NotOwned
from livekit_operator.manifests.metadata import labels as labels_of
from livekit_operator.manifests.metadata import owner_reference
from livekit_operator.reconciling import status
from livekit_operator.reconciling.context import Context

_OWN_LABELS = (LABEL_MANAGED_BY, LABEL_NAME, LABEL_INSTANCE, LABEL_COMPONENT)
# Applying replaces all that counts of other kinds; of these the content itself is trusted.
_CONTENT = {"ConfigMap": "data"}


def identity(owner: Resource) -> Owner:
    """Return a resource as the owner of its children."""
    metadata = owner.metadata
    return Owner(metadata.namespace, GROUP, type(owner).__name__, metadata.name, metadata.uid)


def identity_of(kind: str, manifest: Manifest) -> Owner:
    """Return a resource that was not parsed as the owner of its children."""
    return Owner(key_of(manifest)[0], GROUP, kind, key_of(manifest)[1], str(manifest["metadata"].get("uid")))


def is_owned(owner: Resource, manifest: Manifest) -> bool:
    """Return whether this very owner, not a former one of the same name, controls the object."""
    return owner_of(manifest) == identity(owner)


def note_orphaning(context: Context, kind: str, key: Key, known: Manifest | None) -> None:
    """Remember, until it is gone, that a resource is deleted with `--cascade=orphan`; called with each version of it.

    The garbage collector may be done, and its finalizer gone, before the resource's next pass.
    """
    if known is None:
        context.orphaning.pop((kind, key), None)
    elif "deletionTimestamp" in known["metadata"] and ORPHAN_FINALIZER in (known["metadata"].get("finalizers") or ()):
        context.orphaning[kind, key] = known["metadata"]["uid"]


def is_orphaning(context: Context, owner: Resource) -> bool:
    """Return whether a resource is deleted with `--cascade=orphan`: its children are to go on as they are."""
    return context.orphaning.get((type(owner).__name__, owner.key)) == owner.metadata.uid


def why_foreign(owner: Resource, desired: Manifest, known: Manifest) -> str | None:
    """Return why an object at the name of a wanted child is not to be adopted, None when it is.

    It is ours when it has our labels and its controller is none, or was a former resource of this one's kind and name:
    two of those are never there at once.
    """
    controller = owner_of(known)
    if controller is not None and controller[:4] != identity(owner)[:4]:
        return f"{controller.kind} {controller.name} controls it"
    if "deletionTimestamp" in known["metadata"]:
        return "it is being deleted"
    wanted, has = desired["metadata"]["labels"], known["metadata"].get("labels") or {}
    missing = [f"{label}={wanted[label]}" for label in _OWN_LABELS if has.get(label) != wanted.get(label)]
    if missing:
        return f"it has not the labels by which the operator knows its own: {', '.join(missing)}"
    part = _CONTENT.get(desired["kind"])
    if part and known.get(part) != desired.get(part):
        return "its content is not what the operator wrote"
    return None


async def adopt(context: Context, owner: Resource, desired: Manifest, known: Manifest) -> Manifest:
    """Adopt an object at the name of a wanted child; raises NotOwned saying why it is left alone."""
    kind, key = desired["kind"], key_of(known)
    if why := why_foreign(owner, desired, known):
        raise NotOwned(kind, *key, why)
    return await take_over(context, owner, kind, known)


async def take_over(context: Context, owner: Resource, kind: str, known: Manifest) -> Manifest:
    """Make a resource the controller of this very version of an object.

    Raises Conflict when it changed meanwhile, and when the resource is being deleted: what it has left already would go
    with it.
    """
    metadata = known["metadata"]
    if await _is_leaving(context, owner):
        raise Conflict(409, "Conflict", f"{type(owner).__name__} {owner.metadata.name} is being deleted")
    others = [reference for reference in metadata.get("ownerReferences") or () if not reference.get("controller")]
    patch: dict[str, Any] = {
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
        "ownerReferences": [*others, owner_reference(owner, type(owner).__name__)],
    }
    written = await context.kubernetes.merge(kind, *key_of(known), {"metadata": patch})
    if (cache := context.children.get(kind)) is not None:
        cache.put(written)
    message = f"{kind} {metadata['name']}, which a former {type(owner).__name__} of this name left, is taken over."
    await status.emit(context, owner, "Normal", reasons.ADOPTED, message)
    return written


async def _is_leaving(context: Context, owner: Resource) -> bool:
    """Return whether a resource is being deleted or gone.

    The API server is asked: a watch may tell what an orphaned child has become before another tells of its owner.
    """
    try:
        now = await context.kubernetes.get(type(owner).__name__, *owner.key)
    except NotFound:
        return True
    return now["metadata"].get("uid") != owner.metadata.uid or "deletionTimestamp" in now["metadata"]


async def adopt_pods(context: Context, owner: Resource, component: str, is_named: Callable[[Manifest], bool]) -> None:
    """Adopt the pods of a component that a former owner left, with their calls.

    `is_named` says whether a pod has a name that the operator would give it. An owner being deleted adopts none.
    """
    if owner.metadata.deletion_timestamp:
        return
    desired = {"kind": "Pod", "metadata": {"labels": labels_of(owner, component)}}
    for pod in context.children["Pod"].left_by(identity(owner)):
        if is_named(pod) and why_foreign(owner, desired, pod) is None:
            try:
                await take_over(context, owner, "Pod", pod)
            except NotFound:
                context.children["Pod"].remove(key_of(pod), pod["metadata"]["uid"])


async def relabel(context: Context, owner: Resource, component: str, pod: Manifest) -> None:
    """Restore the labels of a pod that somebody changed, without which it is not found as the owner's."""
    has = pod["metadata"].get("labels") or {}
    changed = {label: value for label, value in labels_of(owner, component).items() if has.get(label) != value}
    if not changed or "deletionTimestamp" in pod["metadata"]:
        return
    patch = {"metadata": {"uid": pod["metadata"]["uid"], "labels": changed}}
    try:
        written = await context.kubernetes.merge("Pod", *key_of(pod), patch)
    except NotFound:
        return
    context.children["Pod"].put(written)
