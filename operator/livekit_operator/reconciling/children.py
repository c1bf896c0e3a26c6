"""Children: whole desired objects are applied, drift is reverted, what is no longer desired is deleted.

A child that does not stay as it is written is reported, and written after ever longer pauses (`brakes`).
"""

from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus

from livekit_operator.api.common import Resource
from livekit_operator.constants import ANNOTATION_APPLIED, FIELD_MANAGER
from livekit_operator.engine.cache import Manifest, key_of
from livekit_operator.errors import Blocked, Conflict, KubernetesError, NotFound
from livekit_operator.logs import ObjectLogger
from livekit_operator.manifests.metadata import digest
from livekit_operator.moments import timestamp
from livekit_operator.reconciling.braking import note_made
from livekit_operator.reconciling.comparing import Path, contains, difference, found_at, manager_of, shown_path
from livekit_operator.reconciling.context import Context
from livekit_operator.reconciling.ownership import adopt, identity, is_owned
from livekit_operator.reconciling.refusals import blocked_if_refused

_OFTEN = "was changed or removed again and again after this operator had made it as it should be"
_LOOK = "see who writes to it in its metadata.managedFields and Events, and have that leave it alone."


async def ensure(context: Context, owner: Resource, desired: Manifest, *, new: bool = False) -> Manifest:
    """Make a child as desired and return it; writes nothing when it is so already.

    With `new` it is expected not to exist: it is created without being looked up before. One that a former owner of the
    same name left is adopted. Raises NotOwned when an object of that name is somebody else's, KubernetesError.
    """
    kind, key = desired["kind"], key_of(desired)
    cache = context.children.get(kind)  # None for kinds of other projects
    known = cache.get(key) if cache is not None else None
    if known is None and new and (created := await _create(context, owner, desired)):
        return created
    known = await _ours(context, owner, desired, known)
    marked = _marked(desired)
    # The values alone cannot show that a field is no longer wanted; the digest in the annotation can.
    brakes, name = context.brakes_of(owner).children, f"{kind} {key[1]}"
    if known is not None and contains(known, marked):
        brakes.kept(name)
        return known
    wanted = marked["metadata"]["annotations"][ANNOTATION_APPLIED]
    if held := brakes.held(name, wanted, context.now()):
        if known is None or not brakes.is_same(name, wanted):
            raise Blocked(replace(held.problem, retry_after=held.seconds(context.now())))
        return known
    often = f"{kind} {key[1]} {_OFTEN}: {_LOOK}"
    if brakes.is_often(name, wanted):
        often = f"{kind} {key[1]} {_OFTEN}: {await _last_change(context, marked)}"
    doubted = brakes.strikes(name) > 0 and brakes.is_same(name, wanted)
    try:
        applied, path = await _write(context, marked, known, doubted=doubted)
    except KubernetesError as error:
        if known is None or not doubted or not _is_invalid(error):
            raise
        applied, path = known, difference(known, marked)  # what it was changed into cannot even be corrected
    _note_written(context, owner, marked, applied, path, often)
    if cache is not None:
        cache.put(applied)
    return applied


async def _ours(context: Context, owner: Resource, desired: Manifest, known: Manifest | None) -> Manifest | None:
    """Return a child as it is, `known` from the cache; None when there is none. One of a former owner is taken over."""
    kind, key = desired["kind"], key_of(desired)
    if known is None:
        # Not in the cache can also mean: there without our label.
        known = await find(context, kind, *key)
    if known is not None and not is_owned(owner, known):
        # The cache may hold what is gone with a former owner of the same name.
        known = await find(context, kind, *key)
        if known is not None and not is_owned(owner, known):
            known = await adopt(context, owner, desired, known)
        if known is None and (cache := context.children.get(kind)) is not None:
            cache.remove(key)
    return known


def _note_written(
    context: Context, owner: Resource, marked: Manifest, written: Manifest, path: Path | None, often: str
) -> None:
    """Note whether a child stayed as written; `path` is the first field that did not."""
    kind, key, problem = marked["kind"], key_of(marked), ""
    if path is not None:
        problem = f"{kind} {key[1]} is not kept as this operator writes it: {_changed(written, path)}"
        ObjectLogger(kind, *key).warning("%s", problem)
    wanted = marked["metadata"]["annotations"][ANNOTATION_APPLIED]
    brakes = context.brakes_of(owner).children
    brakes.written(f"{kind} {key[1]}", wanted, context.now(), problem=problem, often=often)


async def patch(context: Context, owner: Resource, kind: str, name: str, change: Manifest) -> Manifest | None:
    """Merge-patch a child and return it, None while the same change is held back because it was not kept.

    Raises NotFound, KubernetesError.
    """
    brakes, now = context.brakes_of(owner).children, context.now()
    what, wanted = f"{kind} {name}: {_fields_of(change)}", digest(change)
    if brakes.held(what, wanted, now):
        return None
    written = await context.kubernetes.merge(kind, owner.metadata.namespace, name, change)
    path = difference(written, change)
    problem = "" if path is None else f"{kind} {name} is not kept as this operator writes it: {_changed(written, path)}"
    brakes.written(what, wanted, now, problem=problem, often=f"{kind} {name} {_OFTEN}: {_LOOK}")
    context.children[kind].put(written)
    return written


def _fields_of(change: Manifest) -> str:
    return ",".join(
        sorted(
            key for part in (*(change.get("metadata") or {}).values(), change) if isinstance(part, dict) for key in part
        )
    )


def _changed(applied: Manifest, path: Path) -> str:
    """Return who changed a field of an object as it was written, and what to do."""
    field, who = shown_path(path), manager_of(applied, path, FIELD_MANAGER)
    by = f"by {who}" if who else "by an admission policy or webhook of this cluster"
    return f"{field} was changed {by}. Have it leave {field} of this operator's objects alone."


async def _last_change(context: Context, marked: Manifest) -> str:
    """Return who changed a child that is about to be corrected, and what to do; caches know no field managers."""
    found = await find(context, marked["kind"], *key_of(marked))
    path = difference(found, marked) if found else None
    if found is None or path is None or manager_of(found, path, FIELD_MANAGER) is None:
        return _LOOK
    return f"the last time {_changed(found, path)}"


async def _create(context: Context, owner: Resource, desired: Manifest) -> Manifest | None:
    """Create a child; return None when an object of that name is there."""
    marked = _marked(desired)
    try:
        created = await context.kubernetes.create(marked)
    except Conflict:
        return None
    if (path := difference(created, marked)) is not None:
        _note_written(context, owner, marked, created, path, "")
    if (cache := context.children.get(desired["kind"])) is not None:
        cache.put(created)
    return created


async def make_pod(context: Context, owner: Resource, component: str, pod: Manifest, *, part: str = "") -> Manifest:
    """Create a pod of a component, and return it; a `part` of its name is another one at each try.

    Raises Blocked when the API server refuses it, Conflict when there is one of that name, KubernetesError.
    """
    with blocked_if_refused(pod=pod, part=part):
        made = await context.kubernetes.create(pod)
    context.children["Pod"].put(made)
    note_made(context, owner, component, made)
    return made


async def remove(context: Context, kind: str, manifest: Manifest, *, grace_seconds: int | None = None) -> None:
    """Delete a child, and only this one: not an object that has taken its name meanwhile."""
    namespace, name = key_of(manifest)
    uid = manifest["metadata"]["uid"]
    await context.kubernetes.delete(kind, namespace, name, uid=uid, grace_seconds=grace_seconds)
    if kind == "Pod":
        # It exists until it has ended, but the next pass must see that it terminates, or would choose another one too.
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


async def _write(
    context: Context, marked: Manifest, known: Manifest | None, *, doubted: bool
) -> tuple[Manifest, Path | None]:
    """Write a child; return it as it is then, and the path of the first field that did not stay, None when all did.

    Server-side apply leaves what others added to a list, and where they changed the key of an item, such as a port's
    number, it adds a second one, which may be refused for having the same name. So whole lists are replaced where that
    may help; where it is `doubted` that anything does, before it is applied.

    It is written to the version that is known; raises Conflict when that is out of date, KubernetesError. The owner may
    have been deleted with `--cascade=orphan` meanwhile: the child would get it as its owner again, and be deleted.
    """
    body = {name: value for name, value in marked.items() if name not in ("apiVersion", "kind", "metadata")}
    current = known
    if known is None or not doubted or contains(known, body):
        try:
            current = await context.kubernetes.apply(_at(marked, known))
        except KubernetesError as error:
            if known is None or not _is_invalid(error):
                raise
        else:
            path = difference(current, marked)
            if path is None or known is None or not isinstance(found_at(current, path), list):
                return current, path
    replaced = await _replace(context, marked, body, current)
    if (path := difference(replaced, body)) is not None:
        return replaced, path  # applying it as well would add to it again
    applied = await context.kubernetes.apply(_at(marked, replaced))
    return applied, difference(applied, marked)


def _at(change: Manifest, known: Manifest | None) -> Manifest:
    """Return a change that is made to this version of an object and to no later one."""
    if known is None:
        return change
    version = known["metadata"]["resourceVersion"]
    return {**change, "metadata": {**change.get("metadata", {}), "resourceVersion": version}}


async def _replace(context: Context, marked: Manifest, body: Manifest, known: Manifest | None) -> Manifest:
    """Put all of a child's `body` in place of what is there, and return it."""
    kind, key = marked["kind"], key_of(marked)
    written = await context.kubernetes.merge(kind, *key, _at(body, known))
    # As a manager beside our own applies, this patch would keep what a later apply removes: its record goes.
    managers = written["metadata"].get("managedFields") or ()
    kept = [m for m in managers if (m["manager"], m["operation"]) != (FIELD_MANAGER, "Update")]
    if len(kept) == len(managers):
        return written
    return await context.kubernetes.merge(kind, *key, _at({"metadata": {"managedFields": kept}}, written))


def _is_invalid(error: KubernetesError) -> bool:
    return error.status == HTTPStatus.UNPROCESSABLE_ENTITY


def _marked(desired: Manifest) -> Manifest:
    metadata = desired["metadata"]
    annotations = {**(metadata.get("annotations") or {}), ANNOTATION_APPLIED: digest(desired)}
    return {**desired, "metadata": {**metadata, "annotations": annotations}}
