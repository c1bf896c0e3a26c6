"""What is known of the cluster: objects by name, and children by their owner."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from livekit_operator.constants import LABEL_INSTANCE

Manifest = dict[str, Any]
Key = tuple[str, str]


class Owner(NamedTuple):
    """Whose an object is: all of it, for a uid alone can be read and written into objects of any namespace.

    The namespace is the object's own, which is where Kubernetes looks for an owner.
    """

    namespace: str
    group: str
    kind: str
    name: str
    uid: str


def key_of(manifest: Manifest) -> Key:
    """Return (namespace, name)."""
    metadata = manifest["metadata"]
    return metadata.get("namespace", ""), metadata["name"]  # nodes are in no namespace


def owner_of(manifest: Manifest) -> Owner | None:
    """Return who controls an object by its owner reference, whether there is such an owner or not."""
    for reference in manifest["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            group, slash, _ = str(reference.get("apiVersion")).partition("/")
            kind, name, uid = (str(reference.get(part)) for part in ("kind", "name", "uid"))
            return Owner(key_of(manifest)[0], group if slash else "", kind, name, uid)
    return None


def _bucket(manifest: Manifest) -> tuple[str, ...] | None:
    """Return under what an object is found: its owner without the uid, or the name on its label when it has none."""
    if owner := owner_of(manifest):
        return owner[:4]
    return _labelled(key_of(manifest)[0], (manifest["metadata"].get("labels") or {}).get(LABEL_INSTANCE))


def _labelled(namespace: str, instance: str | None) -> tuple[str, ...] | None:
    return (namespace, instance) if instance else None


def newer(candidate: Manifest, known: Manifest) -> bool:
    """Return whether one version of an object came after another.

    Resource versions of one kind are ordered since Kubernetes 1.35 says so (KEP-5504), and always were in practice.
    """
    after = str(candidate["metadata"].get("resourceVersion", ""))
    before = str(known["metadata"].get("resourceVersion", ""))
    if after.isdigit() and before.isdigit():
        return int(after) > int(before)
    return after != before


class LeftOut(Protocol):
    """What somebody remembers of objects that a cache does not keep."""

    def gone(self, key: Key) -> None:
        """Hear that there is no object of this name."""

    def only(self, listed: set[Key]) -> None:
        """Hear of the names of all objects there are."""


class ObjectCache:
    """Objects of one kind. A write's answer goes in at once, so that the next pass does not repeat it.

    `on_change` hears of every change, whether a watch or our own write brought it. `keep` makes an object smaller
    before it is remembered; what it makes None of is not. `forget` hears of what is no longer remembered, `left_out` of
    the end of what never was.
    """

    def __init__(
        self,
        on_change: Callable[[Manifest], None] = lambda _: None,
        keep: Callable[[Manifest], Manifest | None] = lambda manifest: manifest,
        forget: Callable[[Manifest], None] = lambda _: None,
        left_out: LeftOut | None = None,
    ) -> None:
        self._on_change = on_change
        self._keep = keep
        self._forgotten = forget
        self._left_out = left_out
        self._objects: dict[Key, Manifest] = {}
        self._doubted: set[Key] = set()
        self._by_owner: defaultdict[tuple[str, ...], set[Key]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Manifest]:
        return iter(self._objects.values())

    def __contains__(self, key: object) -> bool:
        return key in self._objects

    def get(self, key: Key) -> Manifest | None:
        """Return an object, or None."""
        return self._objects.get(key)

    def owned_by(self, owner: Owner) -> list[Manifest]:
        """Return the objects that this very owner controls, by name."""
        return [manifest for manifest in self._found(owner[:4]) if owner_of(manifest) == owner]

    def left_by(self, owner: Owner) -> list[Manifest]:
        """Return what a former owner of this name controls, and what has the name as a label and no controller."""
        former = [manifest for manifest in self._found(owner[:4]) if owner_of(manifest) != owner]
        return former + self._found(_labelled(owner.namespace, owner.name))

    def _found(self, bucket: tuple[str, ...] | None) -> list[Manifest]:
        return [self._objects[key] for key in sorted(self._by_owner.get(bucket or (), ()))]

    def put(self, manifest: Manifest) -> bool:
        """Remember an object unless a newer version is known; return whether it was news."""
        key = key_of(manifest)
        known = self._objects.get(key)
        if known is not None:
            if key not in self._doubted and not newer(manifest, known):
                return False  # also an answer that speaks of a former object of this name
            self._forget(key)
        manifest["metadata"].pop("managedFields", None)
        kept = self._keep(manifest)
        if kept is None:
            if known is not None:
                self._on_change(known)
            return known is not None
        manifest = kept
        self._objects[key] = manifest
        if bucket := _bucket(manifest):
            self._by_owner[bucket].add(key)
        self._on_change(manifest)
        return True

    def remove(self, key: Key, uid: str | None = None) -> Manifest | None:
        """Forget an object, with a uid only that very one, and return what was known of it."""
        known = self._objects.get(key)
        if self._left_out is not None:
            self._left_out.gone(key)
        if uid is not None and known is not None and known["metadata"].get("uid") != uid:
            return None
        manifest = self._forget(key)
        if manifest is not None:
            self._on_change(manifest)
        return manifest

    def _forget(self, key: Key) -> Manifest | None:
        manifest = self._objects.pop(key, None)
        self._doubted.discard(key)
        if manifest is not None:
            self._forgotten(manifest)
        if manifest is not None and (bucket := _bucket(manifest)):
            keys = self._by_owner[bucket]
            keys.discard(key)
            if not keys:
                del self._by_owner[bucket]
        return manifest

    def retain(self, listed: set[Key], version: str) -> list[Manifest]:
        """Forget what a full listing of a resource version does not name; return it.

        What is newer than the listing was created meanwhile, and stays.
        """
        listing: Manifest = {"metadata": {"resourceVersion": version}}
        if self._left_out is not None:
            self._left_out.only(listed)
        gone = [
            known
            for key, known in self._objects.items()
            if key not in listed and (key in self._doubted or not newer(known, listing))
        ]
        for manifest in gone:
            self.remove(key_of(manifest))
        return gone

    def doubt(self, keys: set[Key] | None = None) -> None:
        """Let the next version of objects, all when none are named, replace the known one, whatever its number."""
        self._doubted |= self._objects.keys() if keys is None else keys & self._objects.keys()

    def doubt_against(self, listed: Manifest, version: str) -> None:
        """Doubt what is known of an object when a listing of a version has an older one, or another one.

        etcd was restored to an earlier state then, perhaps under later numbers. What is newer than the listing was
        written since.
        """
        known = self._objects.get(key_of(listed))
        if known is None or newer(known, {"metadata": {"resourceVersion": version}}):
            return
        same = known["metadata"].get("uid") == listed["metadata"].get("uid")
        if newer(known, listed) or not (same or newer(listed, known)):
            self._doubted.add(key_of(listed))
