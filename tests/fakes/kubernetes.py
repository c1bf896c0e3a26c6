"""An API server in memory: enough of its behaviour for reconcilers to run against, and a record of every write.

It keeps what matters to a reconciler: resource versions and generations, 404 and 409, defaults that it adds by itself,
a status apart from the spec, finalizers, graceful deletion of pods, and the garbage collector. What people and other
controllers do (`put`, `edit`, `vanish`) is not recorded as a write.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from livekit_operator.api.kinds import BY_KIND
from livekit_operator.clients.kubernetes import Page, WatchEvent, WatchExpired
from livekit_operator.constants import API_VERSION, ORPHAN_FINALIZER
from livekit_operator.errors import Conflict, KubernetesError, NotFound
from livekit_operator.moments import timestamp
from tests.fakes.clock import Clock
from tests.fakes.objects import Manifest, ObjectKey, check, key_of, merged, selected, with_defaults, without

_OWN_KINDS = frozenset(BY_KIND)


@dataclass(frozen=True)
class Write:
    """One request that changes something; `name` is the generateName of an object that has no name yet."""

    verb: str
    kind: str
    namespace: str
    name: str
    subresource: str | None = None

    @property
    def what(self) -> str:
        """Return it as `verb kind/name[/subresource]`."""
        return f"{self.verb} {self.kind}/{self.name}" + (f"/{self.subresource}" if self.subresource else "")


@dataclass
class _Watch:
    kind: str
    selector: str | None
    events: "asyncio.Queue[WatchEvent | Exception | None]" = field(default_factory=asyncio.Queue)


class FakeKubernetes:
    """Implements the Protocol `Kubernetes`."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.objects: dict[ObjectKey, Manifest] = {}
        self.writes: list[Write] = []
        self.reads: list[str] = []
        self.missing_kinds: set[str] = set()
        """Kinds that this cluster does not have."""
        self.logs: dict[str, str] = {}
        """Pod -> what it printed."""
        self.admission: list[Callable[[Manifest], None]] = []
        """What an admission policy does to new objects: changes them where they are."""
        self.watched_from: list[str] = []
        self.listeners: list[Callable[[WatchEvent], None]] = []
        self.page = 500
        """Objects of one page of a listing."""
        self.policies: list[Callable[[Manifest], None]] = []
        """What admission policies change of everything that is written by requests."""
        self._failures: list[tuple[str, str, KubernetesError, bool]] = []
        self._watches: list[_Watch] = []
        self._version = 100
        self._uids = 0

    # What tests do as people, the kubelet or another controller.

    def put(self, manifest: Manifest, *, checked: bool = True) -> Manifest:
        """Store an object as somebody else would create it; one that is not `checked` is of CRDs of another version."""
        if checked:
            check(manifest)
        return copy.deepcopy(self._store(copy.deepcopy(manifest)))

    def edit(
        self, kind: str, namespace: str, name: str, patch: Manifest, *, status: bool = False, checked: bool = True
    ) -> Manifest:
        """Merge-patch an object by hand; with `status` its status. One not `checked` is of CRDs of another version."""
        current = self._find(kind, namespace, name)
        changed = merged(current, {"status": patch} if status else patch)
        if checked:
            check(changed, current)
        return copy.deepcopy(self._update(current, changed))

    def vanish(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object at once, as `kubectl delete` or the kubelet does in the end."""
        self._erase(self._find(kind, namespace, name))

    def ask_to_delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object as a user does: one with finalizers only gets its deletionTimestamp."""
        self._delete(self._find(kind, namespace, name))

    def ask_to_orphan(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object as `kubectl delete --cascade=orphan` does: it stays until `orphan_children`."""
        finalizers = self._find(kind, namespace, name)["metadata"].get("finalizers") or []
        self.edit(kind, namespace, name, {"metadata": {"finalizers": [*finalizers, ORPHAN_FINALIZER]}})
        self._delete(self._find(kind, namespace, name))

    def orphan_children(self, kind: str, namespace: str, name: str) -> list[tuple[str, str]]:
        """Take the owner off its children as the garbage collector does; return their kinds and names."""
        metadata, left = self._find(kind, namespace, name)["metadata"], []
        for child in list(self.objects.values()):
            owners = child["metadata"].get("ownerReferences") or []
            others = [owner for owner in owners if owner["uid"] != metadata["uid"]]
            if len(others) < len(owners):
                self.edit(*key_of(child), {"metadata": {"ownerReferences": others}})
                left.append((child["kind"], child["metadata"]["name"]))
        finalizers = [finalizer for finalizer in metadata["finalizers"] if finalizer != ORPHAN_FINALIZER]
        self.edit(kind, namespace, name, {"metadata": {"finalizers": finalizers}})
        return left

    def peek(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object, or None."""
        found = self.objects.get((kind, namespace, name))
        return copy.deepcopy(found) if found is not None else None

    def names(self, kind: str, namespace: str | None = None) -> list[str]:
        """Return the names of all objects of a kind."""
        return sorted(key[2] for key in self.objects if key[0] == kind and namespace in (None, key[1]))

    def fail(self, verb: str, kind: str, error: KubernetesError, *, once: bool = False) -> None:
        """Let requests fail, all of that verb and kind or only the next."""
        self._failures.append((verb, kind, error, once))

    def heal(self) -> None:
        """Let requests succeed again."""
        self._failures.clear()

    def forget_writes(self) -> None:
        """Start the record of writes anew."""
        self.writes.clear()
        self.reads.clear()

    def end_watches(self, error: Exception | None = None, kind: str | None = None) -> None:
        """End streams that are watched now, with an error or without."""
        for watch in self._watches:
            if kind in (None, watch.kind):
                watch.events.put_nowait(error)

    def bookmark(self, kind: str, version: str) -> None:
        """Tell the watches of a kind how far they are."""
        self._version = max(self._version, int(version))
        for watch in self._watches:
            if watch.kind == kind:
                event = WatchEvent("BOOKMARK", {"kind": kind, "metadata": {"resourceVersion": version}})
                watch.events.put_nowait(event)

    @property
    def watched(self) -> list[str]:
        """Return the kinds that are watched now."""
        return sorted(watch.kind for watch in self._watches)

    # The Protocol.

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object."""
        self._begin("get", kind)
        self.reads.append(f"get {kind}/{name}")
        return copy.deepcopy(self._find(kind, namespace, name))

    async def pages(self, kind: str, selector: str | None = None) -> AsyncIterator[Page]:
        """Yield the objects of all namespaces in pages."""
        self._begin("list", kind)
        self.reads.append(f"list {kind}")
        found = [copy.deepcopy(m) for key, m in self.objects.items() if key[0] == kind and selected(m, selector)]
        version = str(self._version)
        for start in range(0, max(1, len(found)), self.page):
            yield Page(found[start : start + self.page], version, start == 0)

    async def newest(self, kind: str) -> str:
        """Return the resource version that everything has come to."""
        self._begin("list", kind)
        return str(self._version)

    def restore(self, objects: dict[ObjectKey, Manifest], version: int, error: Exception | None = None) -> None:
        """Put the store back to an earlier state, as from a backup of etcd; watches end.

        The version is the backup's, or a later one: of what was written since, or as `etcdutl --bump-revision` has it.
        """
        self.objects, self._version = copy.deepcopy(objects), version
        self.end_watches(error or KubernetesError(0, "ServerDisconnectedError", "watch"))

    @property
    def version(self) -> int:
        """Return the resource version that everything has come to."""
        return self._version

    async def watch(self, kind: str, resource_version: str, selector: str | None = None) -> AsyncIterator[WatchEvent]:
        """Yield changes from now on; what happened since the listing comes first."""
        self._begin("watch", kind)
        self.watched_from.append(resource_version)
        watch = _Watch(kind, selector)
        self._watches.append(watch)
        for key, manifest in list(self.objects.items()):
            version = int(manifest["metadata"]["resourceVersion"])
            if key[0] == kind and version > int(resource_version) and selected(manifest, selector):
                watch.events.put_nowait(WatchEvent("MODIFIED", copy.deepcopy(manifest)))
        try:
            while True:
                event = await watch.events.get()
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self._watches.remove(watch)

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; raises Conflict when it exists."""
        self._begin("create", manifest["kind"])
        metadata = dict(manifest["metadata"])
        if "name" not in metadata:
            metadata["name"] = f"{metadata['generateName']}{self._version + 1}"
        self._record("create", manifest["kind"], metadata["namespace"], metadata["name"])
        if (manifest["kind"], metadata["namespace"], metadata["name"]) in self.objects:
            raise Conflict(409, "AlreadyExists", f"{metadata['name']} already exists")
        created = copy.deepcopy({**manifest, "metadata": metadata})
        for change in self.admission:
            change(created)
        return copy.deepcopy(self._store(self._admitted(created)))

    async def apply(self, manifest: Manifest) -> Manifest:
        """Put an object in place of the one there, with defaults and what the API server itself keeps.

        Raises Conflict when it names another resource version; one of an object that is gone does not count.
        """
        kind, metadata = manifest["kind"], manifest["metadata"]
        self._begin("apply", kind)
        self._record("apply", kind, metadata["namespace"], metadata["name"])
        current = self.objects.get((kind, metadata["namespace"], metadata["name"]))
        if current is None:
            return copy.deepcopy(self._store(self._admitted(copy.deepcopy(manifest))))
        if metadata.get("resourceVersion") not in (None, current["metadata"]["resourceVersion"]):
            raise Conflict(409, "Conflict", "the object has been modified")
        kept = {key: current["metadata"][key] for key in _SERVER_KEYS if key in current["metadata"]}
        changed = with_defaults(copy.deepcopy(manifest))
        changed["metadata"] = {**changed["metadata"], **kept}
        if "status" in current:
            changed["status"] = current["status"]
        return copy.deepcopy(self._update(current, self._admitted(changed)))

    async def merge(
        self, kind: str, namespace: str, name: str, patch: Manifest, subresource: str | None = None
    ) -> Manifest:
        """Merge-patch an object or its status; raises Conflict when the patch names another resource version."""
        self._begin("merge", kind)
        self._record("merge", kind, namespace, name, subresource)
        current = self._find(kind, namespace, name)
        wanted = (patch.get("metadata") or {}).get("resourceVersion")
        if wanted is not None and wanted != current["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "the object has been modified")
        # Each door changes only its own part.
        part = {"status": patch["status"]} if subresource == "status" else {**patch, "status": current.get("status")}
        changed = merged(current, part)
        check(changed, current)
        return copy.deepcopy(self._update(current, self._admitted(copy.deepcopy(changed))))

    async def delete(
        self, kind: str, namespace: str, name: str, uid: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """Delete an object; one that is gone already, or is another, is fine."""
        self._begin("delete", kind)
        self._record("delete", kind, namespace, name)
        current = self.objects.get((kind, namespace, name))
        if current is not None and uid in (None, current["metadata"]["uid"]):
            self._delete(current, grace_seconds)

    async def log(
        self, namespace: str, pod: str, container: str, *, previous: bool = False, since_seconds: int | None = None
    ) -> str:
        """Return what tests let a pod say."""
        self._begin("log", "Pod")
        since = f" of {since_seconds} s" if since_seconds else ""
        self.reads.append(f"log {pod}/{container}{' of before' if previous else ''}{since}")
        self._find("Pod", namespace, pod)
        return self.logs.get(pod, "")

    async def warnings(self, namespace: str, uid: str) -> Sequence[Manifest]:
        """Return the Warnings about an object."""
        self._begin("list", "Event")
        self.reads.append(f"list Event of {uid}")
        found = [m for key, m in self.objects.items() if key[:2] == ("Event", namespace) and m["type"] == "Warning"]
        return copy.deepcopy([event for event in found if event["involvedObject"].get("uid") == uid])

    # Inside.

    def _begin(self, verb: str, kind: str) -> None:
        if kind in self.missing_kinds:
            raise NotFound(404, "NotFound", f"the server could not find the requested resource: {kind}")
        for failure in self._failures:
            if failure[:2] == (verb, kind):
                if failure[3]:
                    self._failures.remove(failure)
                raise failure[2]

    def _admitted(self, manifest: Manifest) -> Manifest:
        for policy in self.policies:
            policy(manifest)
        return manifest

    def _record(self, verb: str, kind: str, namespace: str, name: str, subresource: str | None = None) -> None:
        self.writes.append(Write(verb, kind, namespace, name, subresource))

    def _find(self, kind: str, namespace: str, name: str) -> Manifest:
        if (found := self.objects.get((kind, namespace, name))) is None:
            raise NotFound(404, "NotFound", f'{kind} "{name}" not found')
        return found

    def _store(self, manifest: Manifest) -> Manifest:
        metadata = manifest["metadata"]
        self._uids += 1
        metadata.setdefault("uid", f"uid-{self._uids}")
        metadata.setdefault("creationTimestamp", timestamp(self.clock()))
        metadata["generation"] = 1
        if manifest["kind"] in _OWN_KINDS:
            manifest.setdefault("apiVersion", API_VERSION)
            manifest.setdefault("status", {"observedGeneration": -1})
        return self._take(with_defaults(manifest), "ADDED")

    def _update(self, current: Manifest, changed: Manifest) -> Manifest:
        if changed == current:
            return current  # a write that changes nothing makes no new version
        if without(changed, "status", "metadata") != without(current, "status", "metadata"):
            changed["metadata"]["generation"] = current["metadata"].get("generation", 1) + 1
        if changed["metadata"].get("deletionTimestamp") and not changed["metadata"].get("finalizers"):
            self._erase(changed)
            return changed
        return self._take(changed, "MODIFIED")

    def _take(self, manifest: Manifest, event_type: str) -> Manifest:
        self._version += 1
        manifest["metadata"]["resourceVersion"] = str(self._version)
        self.objects[key_of(manifest)] = manifest
        self._tell(event_type, manifest)
        return manifest

    def _delete(self, manifest: Manifest, grace_seconds: int | None = None) -> None:
        metadata = manifest["metadata"]
        if not metadata.get("finalizers") and (manifest["kind"] != "Pod" or grace_seconds == 0):
            self._erase(manifest)
        elif "deletionTimestamp" not in metadata or (grace_seconds or 1e9) < metadata.get(
            "deletionGracePeriodSeconds", 0
        ):
            leaving = copy.deepcopy(manifest)
            given = (manifest.get("spec") or {}).get("terminationGracePeriodSeconds", 30)
            grace = grace_seconds if grace_seconds is not None else given
            # A pod's is when its time is over; a resource that waits for finalizers has no time.
            seconds = grace if manifest["kind"] == "Pod" else 0
            leaving["metadata"]["deletionTimestamp"] = timestamp(self.clock() + timedelta(seconds=seconds))
            leaving["metadata"]["deletionGracePeriodSeconds"] = grace
            self._take(leaving, "MODIFIED")

    def _erase(self, manifest: Manifest) -> None:
        self.objects.pop(key_of(manifest), None)
        self._version += 1
        manifest["metadata"]["resourceVersion"] = str(self._version)
        self._tell("DELETED", manifest)
        uid = manifest["metadata"]["uid"]
        for dependent in list(self.objects.values()):
            if any(owner["uid"] == uid for owner in dependent["metadata"].get("ownerReferences") or ()):
                self._erase(dependent)

    def _tell(self, event_type: str, manifest: Manifest) -> None:
        for watch in self._watches:
            if watch.kind == manifest["kind"] and selected(manifest, watch.selector):
                watch.events.put_nowait(WatchEvent(event_type, copy.deepcopy(manifest)))
        for listener in self.listeners:
            listener(WatchEvent(event_type, copy.deepcopy(manifest)))


_SERVER_KEYS = (
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "finalizers",
    "deletionTimestamp",
)


def gone(kind: str = "watch") -> WatchExpired:
    """Return what a watch raises whose resource version is too old."""
    return WatchExpired(f"too old resource version of {kind}")
