"""What caches keep of objects that anybody may write: children of our resources, as long as there is memory.

Anybody can put the operator's label on any object, and fill a resource with whatever its schema allows. So labelled
objects of others are known by name only, and each namespace has a share of the memory that it cannot exceed at the cost
of others.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import orjson

from livekit_operator.clients.decoding import UNREAD
from livekit_operator.constants import GROUP, LABEL_COMPONENT, LABEL_INSTANCE
from livekit_operator.engine.cache import Key, Manifest, ObjectCache, key_of

logger = logging.getLogger(__name__)

# The share of all memory that every namespace is guaranteed, and what one may have while there is space.
_SURE_SHARE, _LARGEST_SHARE = 1 / 8, 3 / 4
# Half of the memory is for the caches; what is parsed, sent and rolled out takes the rest.
_CACHES_SHARE = 1 / 2
# Of a value in memory, roughly, beside its text.
_VALUE_BYTES = 40
# Names of labelled objects of others that are kept for each namespace.
MOST_STRANGERS = 500
# What the stub of a resource has of its metadata.
_STUB = ("name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp", "finalizers")
NO_SPACE = "the operator's memory for this namespace is full: remove what is large and not needed"


def memory_bytes(path: Path = Path("/sys/fs/cgroup/memory.max")) -> float:
    """Return how much memory this container may have; infinite when it has no limit."""
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return float("inf")


def weight(manifest: Manifest) -> float:
    """Return about how many bytes of memory an object takes."""
    try:
        raw = orjson.dumps(manifest)
    except TypeError:
        return float("inf")  # nested deeper than it writes
    return len(raw) + _VALUE_BYTES * sum(map(raw.count, (b"{", b"[", b",")))


class Space:
    """How much memory the objects of each namespace take, and whether one more may."""

    def __init__(self, most: float) -> None:
        self._most = most * _CACHES_SHARE
        self._of: Counter[str] = Counter()
        self._full: set[str] = set()
        """Namespaces for which there was no space, until they give some back."""

    def take(self, namespace: str, amount: float) -> bool:
        """Return whether there is space for so many bytes, and take it."""
        has = self._of[namespace] + amount
        rest = self._of.total() + amount <= self._most and has <= self._most * _LARGEST_SHARE
        if not rest and has > self._most * _SURE_SHARE:
            if namespace not in self._full:
                logger.error("namespace %s: %s; what comes now is not kept", namespace, NO_SPACE)
            self._full.add(namespace)
            return False
        self._of[namespace] += amount  # type: ignore[assignment]
        return True

    def give_back(self, namespace: str, amount: float) -> None:
        """Let others have so many bytes."""
        self._of[namespace] -= amount  # type: ignore[assignment]
        self._full.discard(namespace)
        if self._of[namespace] <= 0:
            del self._of[namespace]


class Keeper:
    """Says what the cache of one kind keeps of an object, and counts the space it takes."""

    def __init__(self, kind: str, space: Space) -> None:
        self.kind = kind
        self._space = space
        self._weights: dict[Key, float] = {}

    def keep(self, manifest: Manifest) -> Manifest | None:
        """Return an object, or its stub where there is no space for it."""
        if self.has_space(manifest):
            return manifest
        stub: Manifest = {name: manifest[name] for name in ("apiVersion", "kind") if name in manifest}
        short = {name: value for name, value in manifest["metadata"].items() if name in _STUB}
        return {**stub, "metadata": short, UNREAD: manifest.get(UNREAD, NO_SPACE)}

    def has_space(self, manifest: Manifest) -> bool:
        """Return whether there is space for an object, and take it."""
        key, amount = key_of(manifest), weight(manifest)
        if not self._space.take(key[0], amount):
            return False
        self._weights[key] = amount
        return True

    def forget(self, manifest: Manifest) -> None:
        """Give back the space that an object took."""
        key = key_of(manifest)
        if (amount := self._weights.pop(key, None)) is not None:
            self._space.give_back(key[0], amount)


class Strangers:
    """Names of labelled objects that belong to no existing resource: a later one may adopt them."""

    def __init__(self, resources: Mapping[str, ObjectCache], deployed: Mapping[str, str]) -> None:
        """`deployed` has the kind of each component that a Deployment runs."""
        self._resources = resources
        self._deployed = deployed
        self._names: defaultdict[str, dict[tuple[str, Key], str]] = defaultdict(dict)

    def belongs(self, manifest: Manifest) -> bool:
        """Return whether the resource exists that an object names as its owner, by its controller or its label."""
        namespace = key_of(manifest)[0]
        kinds, name = self._named(manifest)
        return any((namespace, name) in self._resources[kind] for kind in kinds)

    def add(self, kind: str, manifest: Manifest) -> None:
        """Remember the name of an object, and forget the oldest one where there are too many."""
        key = key_of(manifest)
        kinds, name = self._named(manifest)
        if kinds:
            names = self._names[key[0]]
            names[kind, key] = name
            if len(names) > MOST_STRANGERS:
                del names[next(iter(names))]

    def _named(self, manifest: Manifest) -> tuple[list[str], str]:
        """Return the kinds and the name of the resource that an object may belong to."""
        metadata = manifest["metadata"]
        labels = metadata.get("labels") or {}
        instance = labels.get(LABEL_INSTANCE)
        for reference in metadata.get("ownerReferences") or ():
            if reference.get("controller"):
                deployed = self._deployed.get(labels.get(LABEL_COMPONENT, ""))
                if reference.get("kind") == "ReplicaSet" and deployed:
                    # A Deployment is in between; only its pods say why it does not start.
                    return [deployed], str(instance)
                ours = str(reference.get("apiVersion")).startswith(f"{GROUP}/")
                ours = ours and reference.get("kind") in self._resources
                return ([reference["kind"]] if ours else []), str(reference.get("name"))
        return (list(self._resources) if instance else []), str(instance)

    def pop(self, resource: Key) -> list[tuple[str, Key]]:
        """Return kind and key of the objects that name a resource, and forget them."""
        names = self._names.get(resource[0], {})
        found = [ident for ident, name in names.items() if name == resource[1]]
        for ident in found:
            self.remove(*ident)
        return found

    def remove(self, kind: str, key: Key) -> None:
        """Forget the name of an object."""
        names = self._names.get(key[0], {})
        names.pop((kind, key), None)
        if not names:
            self._names.pop(key[0], None)

    def retain(self, kind: str, listed: set[Key]) -> None:
        """Forget the names of objects of a kind that are not listed."""
        known = [key for names in self._names.values() for other, key in names if other == kind]
        for key in known:
            if key not in listed:
                self.remove(kind, key)


class ChildKeeper(Keeper):
    """Keeps children of existing resources, and of other objects the name."""

    def __init__(self, kind: str, space: Space, strangers: Strangers) -> None:
        super().__init__(kind, space)
        self._strangers = strangers

    def keep(self, manifest: Manifest) -> Manifest | None:
        """Return a child, None for what is not to be remembered."""
        if not self._strangers.belongs(manifest):
            self._strangers.add(self.kind, manifest)
            return None
        return manifest if UNREAD not in manifest and self.has_space(manifest) else None

    def gone(self, key: Key) -> None:
        """Forget the name of a stranger that is no more."""
        self._strangers.remove(self.kind, key)

    def only(self, listed: set[Key]) -> None:
        """Forget the names of strangers that are not listed."""
        self._strangers.retain(self.kind, listed)
