"""A reflector keeps a cache in step with the API server: list, watch, list again when the watch expires.

Unlike a plain watch it also notices what was deleted while nobody watched.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from livekit_operator.clients.kubernetes import Kubernetes, WatchExpired
from livekit_operator.engine.cache import Manifest, ObjectCache, key_of
from livekit_operator.errors import KubernetesError

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


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
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        self._kubernetes = kubernetes
        self.kind = kind
        self._cache = cache
        self._on_change = on_change
        self._selector = selector
        self._retry_seconds = retry_seconds
        self._version = ""

    async def sync(self) -> None:
        """Take over a full listing and report what changed; raises KubernetesError."""
        manifests, self._version = await self._kubernetes.list(self.kind, self._selector)
        for manifest in self._cache.replace(manifests, self._version):
            self._on_change(manifest)

    async def run(self) -> None:
        """Watch for ever, from the last listing on."""
        while True:
            try:
                if not self._version:
                    await self.sync()
                await self._watch()
            except WatchExpired:
                self._version = ""
            except KubernetesError as error:
                logger.warning("watch of %s interrupted: %s", self.kind, error)
                if error.status in (401, 403, 404):
                    self._version = ""
                await asyncio.sleep(self._retry_seconds * (1 + random.random()))  # noqa: S311 - spreading, not secrecy

    async def _watch(self) -> None:
        async for event in self._kubernetes.watch(self.kind, self._version, self._selector):
            self._version = event.object["metadata"]["resourceVersion"]
            if event.type == "BOOKMARK":
                continue
            if event.type == "DELETED":
                self._cache.remove(key_of(event.object), event.object["metadata"].get("uid"))
                self._on_change(event.object)
            elif self._cache.put(event.object):
                self._on_change(event.object)
