"""A reflector keeps a cache in step with the API server: list, watch, list again when the watch expires.

Unlike a plain watch it also notices what was deleted while nobody watched, that the API server is gone, and that etcd
was restored to an earlier state. Nothing in a single object ends it.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from livekit_operator.clients.kubernetes import Kubernetes, WatchExpired, WatchSilent
from livekit_operator.engine.cache import Key, Manifest, ObjectCache, key_of
from livekit_operator.engine.controller import is_cancelled
from livekit_operator.errors import KubernetesError

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
# The pause after a failure doubles so often: to 16 times the first.
_MOST_DOUBLINGS = 4
# A watch that the API server ends sooner was not ended because its time was over.
_WHOLE_WATCH_SECONDS = 240.0
# One that went on for so long has worked.
_WORKED_SECONDS = 60.0


class Reflector:
    """Mirrors the objects of one kind that carry a label into a cache."""

    def __init__(
        self,
        kubernetes: Kubernetes,
        kind: str,
        cache: ObjectCache,
        on_change: Callable[[Manifest], None],
        selector: str | None = None,
        *,
        on_missed: Callable[[Manifest], None] = lambda _: None,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """`on_missed` is called for what changed while nobody watched: no field need show that, nor the generation."""
        self._kubernetes = kubernetes
        self.kind = kind
        self._cache = cache
        self._on_change = on_change
        self._selector = selector
        self._on_missed = on_missed
        self._retry_seconds = retry_seconds
        self._failures = 0
        self._version = ""
        self._newest = 0
        """The newest resource version seen so far."""
        self._cut_off = False
        """Whether the last watch ended in a way that leaves it possible that etcd was restored meanwhile."""

    async def fill(self, turn: asyncio.Semaphore) -> None:
        """Store a full listing, and try until there is one; `turn` limits how many listings there are at once."""
        while True:
            try:
                async with turn:
                    return await self.sync()
            except KubernetesError as error:
                logger.warning("listing of %s failed, it is tried again: %s", self.kind, error)
            except Exception:
                logger.exception("listing of %s failed, it is tried again", self.kind)
            await self._pause()

    async def sync(self) -> None:
        """Store a full listing and report what changed; raises KubernetesError."""
        listed: set[Key] = set()
        version = ""
        async for page in self._kubernetes.pages(self.kind, self._selector):
            if page.first:
                listed, version = set(), page.version
                self._look_back(version)
            for manifest in page.items:
                key = key_of(manifest)
                listed.add(key)
                self._cache.doubt_against(manifest, version)
                known = key in self._cache
                if self._take_over(manifest) and known:
                    self._hear(self._on_missed, manifest)
        for manifest in self._cache.retain(listed, version):
            self._hear(self._on_change, manifest)
        self._version = version
        self._seen(version)

    async def run(self) -> None:
        """Watch for ever, from the last listing on."""
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._watch_on()
                self._cut_off = asyncio.get_running_loop().time() - began < _WHOLE_WATCH_SECONDS
            except WatchExpired:
                self._version = ""
            except WatchSilent as error:
                # Most often nothing happened to this kind: the API server sends no bookmark that is older than the
                # version a watch began from, and that of a listing counts every kind. So at once, from where it was.
                logger.debug("%s: it is begun anew", error)
                continue
            except KubernetesError as error:
                logger.warning("watch of %s interrupted: %s", self.kind, error)
                if error.status in (401, 403, 404):
                    self._version = ""
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                logger.warning("watch of %s interrupted: what it waited for was cancelled", self.kind)
            except Exception:
                logger.exception("watch of %s failed, everything is listed anew", self.kind)
                self._version = ""
            if asyncio.get_running_loop().time() - began > _WORKED_SECONDS:
                self._failures = 0
            if self._cut_off or not self._version:
                await self._pause()

    async def _pause(self) -> None:
        """Wait before the next try, longer after each failure in a row."""
        times = 2.0**self._failures * (1 + random.random())  # noqa: S311 - spreading, not secrecy
        self._failures = min(self._failures + 1, _MOST_DOUBLINGS)
        await asyncio.sleep(self._retry_seconds * times)

    async def _watch_on(self) -> None:
        """Watch from the place that is known, or from a new listing, until the API server ends it."""
        if self._version and self._cut_off:
            await self._find_place()
        self._cut_off = True
        if not self._version:
            await self.sync()
        await self._watch()

    async def _watch(self) -> None:
        async for event in self._kubernetes.watch(self.kind, self._version, self._selector):
            self._failures = 0
            # Of an object that was passed over even this may be unknown.
            self._version = event.object["metadata"].get("resourceVersion") or self._version
            self._seen(self._version)
            if event.type == "BOOKMARK":
                continue
            if event.type == "DELETED":
                self._take_away(event.object)
            else:
                self._take_over(event.object)

    async def _find_place(self) -> None:
        """Give up the position of the watch unless the API server answers at once, and has not gone back.

        While it answers nobody, etcd may be restored, and written to until its version is as high as before.
        """
        version, self._version = self._version, ""
        if not self._look_back(await self._kubernetes.newest(self.kind)):
            self._version = version

    def _seen(self, version: str) -> None:
        if version.isdigit():
            self._newest = max(self._newest, int(version))

    def _look_back(self, version: str) -> bool:
        """Doubt all that is known when the API server's newest version is older than one seen before.

        etcd was restored to an earlier state then, and a watch from a version in the future shows nothing: it is
        accepted, and stays silent until there are later versions (k8s.io/apiserver storage/cacher).
        """
        if not version.isdigit() or int(version) >= self._newest:
            return False
        logger.warning(
            "the API server went back from version %d of %s to %s, as when its store is restored: "
            "everything is listed anew and taken for true",
            self._newest,
            self.kind,
            version,
        )
        self._cache.doubt()
        self._newest = int(version)
        return True

    def _take_over(self, manifest: Manifest) -> bool:
        """Return whether an object was news."""
        try:
            news = self._cache.put(manifest)
        except Exception:
            logger.exception("%s %s: its change is not understood", self.kind, "/".join(key_of(manifest)))
            return False
        if news:
            self._hear(self._on_change, manifest)
        return news

    def _take_away(self, manifest: Manifest) -> None:
        try:
            self._cache.remove(key_of(manifest), manifest["metadata"].get("uid"))
        except Exception:
            logger.exception("%s %s: its end is not understood", self.kind, "/".join(key_of(manifest)))
        self._hear(self._on_change, manifest)

    def _hear(self, listener: Callable[[Manifest], None], manifest: Manifest) -> None:
        try:
            listener(manifest)
        except Exception:
            logger.exception("%s %s: its change is not understood", self.kind, "/".join(key_of(manifest)))
