"""Children: whole desired objects are applied, drift is put back, what is no longer desired is deleted."""

import re
from datetime import timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from livekit_operator.api.common import Resource
from livekit_operator.conditions import timestamp
from livekit_operator.constants import ANNOTATION_APPLIED, FIELD_MANAGER
from livekit_operator.engine.cache import Manifest, key_of
from livekit_operator.errors import Conflict, KubernetesError, NotFound
from livekit_operator.reconcilers.context import Context
from livekit_operator.reconcilers.ownership import adopt, identity, is_owned
from livekit_operator.resources.metadata import digest


async def ensure(context: Context, owner: Resource, desired: Manifest, *, new: bool = False) -> Manifest:
    """Make a child as desired and return it; writes nothing when it is so already.

    With `new` it is expected not to be there: it is created without being looked up before. One that a former owner of
    the same name left is taken over. Raises NotOwned when an object of that name is somebody else's, KubernetesError.
    """
    kind, key = desired["kind"], key_of(desired)
    cache = context.children.get(kind)  # None for kinds of other projects
    known = cache.get(key) if cache is not None else None
    if known is None and new and (created := await _create(context, desired)):
        return created
    if known is None:
        # Not in the cache can also mean: there without our label.
        known = await find(context, kind, *key)
    if known is not None and not is_owned(owner, known):
        # The cache may hold what is gone with a former owner of the same name.
        known = await find(context, kind, *key)
        if known is not None and not is_owned(owner, known):
            known = await adopt(context, owner, desired, known)
        if known is None and cache is not None:
            cache.remove(key)
    marked = _marked(desired)
    # The values alone cannot show that a field is no longer wanted; the digest in the annotation can.
    if known is not None and contains(known, marked):
        return known
    applied = await _apply(context, marked, existing=known is not None)
    if cache is not None:
        cache.put(applied)
    return applied


async def _create(context: Context, desired: Manifest) -> Manifest | None:
    """Create a child; return None when an object of that name is there."""
    try:
        created = await context.kubernetes.create(_marked(desired))
    except Conflict:
        return None
    if (cache := context.children.get(desired["kind"])) is not None:
        cache.put(created)
    return created


async def remove(context: Context, kind: str, manifest: Manifest, *, grace_seconds: int | None = None) -> None:
    """Delete a child, and only this one: an object that took its name meanwhile is spared."""
    namespace, name = key_of(manifest)
    uid = manifest["metadata"]["uid"]
    await context.kubernetes.delete(kind, namespace, name, uid=uid, grace_seconds=grace_seconds)
    if kind == "Pod":
        # It stays until it has ended, but the next pass must see that it leaves, or would choose another one as well.
        ends = context.now() + timedelta(seconds=grace_seconds or 0)
        manifest["metadata"].setdefault("deletionTimestamp", timestamp(ends))
        if grace_seconds is not None:
            manifest["metadata"]["deletionGracePeriodSeconds"] = grace_seconds
    elif kind in context.children:
        context.children[kind].remove((namespace, name))


async def remove_secrets(context: Context, owner: Resource, *, spare: str | None = None) -> None:
    """Delete every Secret of an owner that may no longer have what is in them; the one called `spare` stays."""
    for secret in context.children["Secret"].owned_by(identity(owner)):
        if secret["metadata"]["name"] != spare:
            await remove(context, "Secret", secret)


async def find(context: Context, kind: str, namespace: str, name: str) -> Manifest | None:
    """Return an object from the API server, or None."""
    try:
        return await context.kubernetes.get(kind, namespace, name)
    except NotFound:
        return None


def contains(actual: Any, desired: Any, *, quantities: bool = False) -> bool:
    """Return whether `actual` has everything of `desired`; what the API server adds as defaults is ignored."""
    if actual == desired:
        return True  # most parts are, and are not walked through
    if actual is None:
        return desired in ({}, [])  # the API server leaves out what is empty
    if isinstance(desired, dict):
        return isinstance(actual, dict) and all(
            contains(actual.get(key), value, quantities=quantities or key in ("requests", "limits"))
            for key, value in desired.items()
        )
    if isinstance(desired, list):
        return (
            isinstance(actual, list)
            and len(actual) == len(desired)
            and all(contains(a, d) for a, d in zip(actual, desired, strict=True))
        )
    if desired is None:
        return actual in ({}, [])
    if quantities and isinstance(actual, str) and isinstance(desired, str):
        return _amount(actual) == _amount(desired)  # the API server writes 1000m as 1
    return bool(actual == desired)


_UNITS = {"m": Decimal("0.001"), "": Decimal(1), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9)}
_UNITS |= {"T": Decimal(10**12), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40)}


def _amount(quantity: str) -> Decimal | str:
    """Return the amount of a Kubernetes quantity, the text itself when it is none."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-zA-Z]*)", quantity)
    return Decimal(match[1]) * _UNITS[match[2]] if match and match[2] in _UNITS else quantity


async def _apply(context: Context, marked: Manifest, *, existing: bool) -> Manifest:
    try:
        applied = await context.kubernetes.apply(marked)
    except KubernetesError as error:
        if not existing or error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
    else:
        if not existing or contains(applied, marked):
            return applied
    return await _replace(context, marked)


async def _replace(context: Context, marked: Manifest) -> Manifest:
    """Put whole lists in place of those that somebody edited.

    Server-side apply leaves what others added to a list; and a changed key of an item, such as a port's number, makes
    it add a second item that is refused for having the same name.
    """
    kind, key = marked["kind"], key_of(marked)
    body = {name: value for name, value in marked.items() if name not in ("apiVersion", "kind", "metadata")}
    written = await context.kubernetes.merge(kind, *key, body)
    # As a manager beside our own applies, this patch would keep what a later apply removes: its record goes.
    managers = written["metadata"].get("managedFields") or ()
    kept = [m for m in managers if (m["manager"], m["operation"]) != (FIELD_MANAGER, "Update")]
    await context.kubernetes.merge(kind, *key, {"metadata": {"managedFields": kept}})
    return await context.kubernetes.apply(marked)


def _marked(desired: Manifest) -> Manifest:
    metadata = desired["metadata"]
    annotations = {**(metadata.get("annotations") or {}), ANNOTATION_APPLIED: digest(desired)}
    return {**desired, "metadata": {**metadata, "annotations": annotations}}
