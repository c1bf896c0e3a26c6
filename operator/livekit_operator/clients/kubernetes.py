"""The API server, as plain dicts.

The typed models of `kubernetes.aio` are left out because building them took half of a reconcile's time. What orjson
reads takes two thirds of the memory: it keeps each key once. Requests that change something name the one field manager.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import Configuration

from livekit_operator.clients.api_resources import RESOURCES, ApiResource, Manifest
from livekit_operator.clients.api_transport import Transport, raise_status
from livekit_operator.clients.api_transport import WatchExpired as WatchExpired
from livekit_operator.clients.decoding import (
    UNREAD,
    Unreadable,
    page_parts,
    read_event,
    read_item,
    read_lines,
    read_object,
    read_page,
)
from livekit_operator.constants import FIELD_MANAGER
from livekit_operator.errors import Conflict, KubernetesError, NotFound
from livekit_operator.metrics import Metrics

logger = logging.getLogger(__name__)

_MAX_LOG_BYTES = 4096
_MAX_EVENTS = 50
# Objects of a page; fewer where a page would be longer than this many bytes.
_PAGE = 500
_MOST_PAGE_BYTES = 16 * 2**20
# How often one listing goes on after the API server has forgotten the state that its pages are of.
_MOST_EXPIRED_PAGES = 5
_WATCH_SECONDS = 300
# Bookmarks come every minute (k8s.io/apiserver storage/cacher, defaultBookmarkFrequency), of a kind that something
# happened to since the watch began; of others the silence says nothing, and another watch costs two small requests.
SILENT_SECONDS = 90


@dataclass(frozen=True)
class WatchEvent:
    """A change: type ADDED, MODIFIED or DELETED, and the object after it."""

    type: str
    object: Manifest


@dataclass(frozen=True)
class Page:
    """Some objects of a listing, and the resource version of what the whole listing tells of.

    The `first` one may come again: then the listing has started over, and what was listed before does not count.
    """

    items: Sequence[Manifest]
    version: str
    first: bool


class WatchSilent(KubernetesError):
    """A watch was silent for so long that nobody may be at its other end."""


class _PageTooLong(Exception):
    """A page has more bytes than are read at once."""


class Kubernetes(Protocol):
    """What the operator asks of the API server. All raise KubernetesError or its NotFound and Conflict."""

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object."""
        ...

    def pages(self, kind: str, selector: str | None = None) -> AsyncIterator[Page]:
        """Yield the objects of all namespaces, and with each page the resource version to watch from."""
        ...

    async def newest(self, kind: str) -> str:
        """Return the resource version that the objects of a kind have come to."""
        ...

    def watch(self, kind: str, resource_version: str, selector: str | None = None) -> AsyncIterator[WatchEvent]:
        """Yield changes until the server ends the stream; raises WatchExpired when a listing is needed, WatchSilent."""
        ...

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; raises Conflict when it exists."""
        ...

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply a whole object, taking fields over from other managers."""
        ...

    async def merge(
        self, kind: str, namespace: str, name: str, patch: Manifest, subresource: str | None = None
    ) -> Manifest:
        """Merge-patch an object or its subresource (RFC 7396: None removes a field)."""
        ...

    async def delete(
        self, kind: str, namespace: str, name: str, uid: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """Delete an object in the background; one that is gone already is fine."""
        ...

    async def log(
        self, namespace: str, pod: str, container: str, *, previous: bool = False, since_seconds: int | None = None
    ) -> str:
        """Return the last lines of a container's output, or of the one that ran before it; at most 4 KiB."""
        ...

    async def warnings(self, namespace: str, uid: str) -> Sequence[Manifest]:
        """Return the Events of type Warning about an object, fifty at most, in no order."""
        ...


class KubernetesClient:
    """The implementation over HTTPS."""

    def __init__(self, configuration: Configuration, metrics: Metrics) -> None:
        self._transport = Transport(configuration, metrics)
        self._metrics = metrics

    @classmethod
    async def from_environment(cls, metrics: Metrics) -> "KubernetesClient":
        """Return a client for the cluster this pod runs in, or else for the current kubeconfig context."""
        configuration = Configuration()
        try:
            kubernetes_config.load_incluster_config(client_configuration=configuration)
        except kubernetes_config.ConfigException:
            await kubernetes_config.load_kube_config(client_configuration=configuration)
        return cls(configuration, metrics)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object."""
        return await self._json("GET", RESOURCES[kind], RESOURCES[kind].path(namespace, name))

    async def pages(self, kind: str, selector: str | None = None) -> AsyncIterator[Page]:
        """Yield the objects of all namespaces, and with each page the resource version to watch from.

        The version is that of the first page, also where the API server offers the rest of a later state: a watch
        from there tells of what changed in between.
        """
        resource = RESOURCES[kind]
        query = {"limit": str(_PAGE), **({"labelSelector": selector} if selector else {})}
        version, expired = "", 0
        while True:
            try:
                items, metadata = await self._page(resource, query)
            except _PageTooLong:
                if query["limit"] == "1":
                    raise KubernetesError(0, "TooLong", f"one of {resource.plural} is too long to be listed") from None
                query["limit"] = str(max(1, int(query["limit"]) // 4))
                continue
            except WatchExpired as error:
                expired += 1
                if "continue" not in query or expired > _MOST_EXPIRED_PAGES:
                    raise KubernetesError(410, "Expired", str(error)) from error
                del query["continue"]
                if error.continue_token:
                    query["continue"] = error.continue_token
                else:
                    version = ""
                continue
            first, version = not version, version or str(metadata["resourceVersion"])
            yield Page(items, version, first)
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def newest(self, kind: str) -> str:
        """Return the resource version that the objects of a kind have come to."""
        _, metadata = await self._page(RESOURCES[kind], {"limit": "1"})
        return str(metadata["resourceVersion"])

    async def watch(self, kind: str, resource_version: str, selector: str | None = None) -> AsyncIterator[WatchEvent]:
        """Yield changes until the server ends the stream; raises WatchExpired when a listing is needed, WatchSilent."""
        resource = RESOURCES[kind]
        query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": resource_version}
        query |= {"timeoutSeconds": str(_WATCH_SECONDS), **({"labelSelector": selector} if selector else {})}
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENT_SECONDS)
        response = await self._transport.request(
            "GET", resource.plural, f"{resource.path()}?{urlencode(query)}", limits=limits
        )
        try:
            async with response:
                async for line, whole in read_lines(response.content):
                    if (event := self._event(resource, line, whole=whole)) is not None:
                        yield event
        except TimeoutError as error:
            message = f"watch of {resource.plural}: nothing for {SILENT_SECONDS} s"
            raise WatchSilent(0, type(error).__name__, message) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise KubernetesError(0, type(error).__name__, f"watch of {resource.plural}: {error}") from error

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; raises Conflict when it exists."""
        resource = RESOURCES[manifest["kind"]]
        path = resource.path(manifest["metadata"]["namespace"])
        return await self._json("POST", resource, f"{path}?fieldManager={FIELD_MANAGER}", manifest)

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply a whole object, taking fields over from other managers."""
        resource = RESOURCES[manifest["kind"]]
        path = resource.path(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        return await self._json(
            "PATCH",
            resource,
            f"{path}?fieldManager={FIELD_MANAGER}&force=true",
            manifest,
            content_type="application/apply-patch+yaml",  # JSON is YAML
        )

    async def merge(
        self, kind: str, namespace: str, name: str, patch: Manifest, subresource: str | None = None
    ) -> Manifest:
        """Merge-patch an object or its subresource (RFC 7396: None removes a field)."""
        path = RESOURCES[kind].path(namespace, name, subresource)
        return await self._json(
            "PATCH",
            RESOURCES[kind],
            f"{path}?fieldManager={FIELD_MANAGER}",
            patch,
            content_type="application/merge-patch+json",
        )

    async def delete(
        self, kind: str, namespace: str, name: str, uid: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """Delete an object in the background; one that is gone already is fine."""
        options: Manifest = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._json("DELETE", RESOURCES[kind], RESOURCES[kind].path(namespace, name), options)
        except NotFound:
            return
        except Conflict:
            # The uid changed: another object of that name, which is not ours to delete.
            return

    async def log(
        self, namespace: str, pod: str, container: str, *, previous: bool = False, since_seconds: int | None = None
    ) -> str:
        """Return the last lines of a container's output, or of the one that ran before it; at most 4 KiB.

        With `since_seconds` none that is older.
        """
        resource = RESOURCES["Pod"]
        query = {"container": container, "tailLines": "20", "limitBytes": str(_MAX_LOG_BYTES)}
        query |= {"previous": "true"} if previous else {}
        query |= {"sinceSeconds": str(since_seconds)} if since_seconds else {}
        path = f"{resource.path(namespace, pod, 'log')}?{urlencode(query)}"
        response = await self._transport.request("GET", resource.plural, path)
        try:
            async with response:
                return (await response.content.read(_MAX_LOG_BYTES)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise KubernetesError(0, type(error).__name__, f"log of {pod}: {error}") from error

    async def warnings(self, namespace: str, uid: str) -> Sequence[Manifest]:
        """Return the Events of type Warning about an object, fifty at most, in no order."""
        resource = RESOURCES["Event"]
        query = {"fieldSelector": f"involvedObject.uid={uid},type=Warning", "limit": str(_MAX_EVENTS)}
        page = await self._json("GET", resource, f"{resource.path(namespace)}?{urlencode(query)}")
        found: Sequence[Manifest] = page.get("items") or ()
        return found

    async def _page(self, resource: ApiResource, query: Mapping[str, str]) -> tuple[list[Manifest], Manifest]:
        """Return the items and the metadata of one page; raises _PageTooLong, WatchExpired."""
        path = f"{resource.path()}?{urlencode(query)}"
        raw, whole = await self._transport.body("GET", resource.plural, path, most=_MOST_PAGE_BYTES)
        if not whole:
            raise _PageTooLong
        found, metadata = read_page(raw) or await self._piecemeal(resource, raw)
        items = []
        for item in found:
            # Before there are thousands of objects: nobody reads who wrote what, and it is half of each.
            item["metadata"].pop("managedFields", None)
            # The items of a list do not say their kind, those of a watch and of every other answer do.
            items.append({**resource.type_meta, **item})
        return items, metadata

    async def _piecemeal(self, resource: ApiResource, raw: bytes) -> tuple[list[Manifest], Manifest]:
        """Go through a page item by item, as one of them cannot be read."""
        items: list[Manifest] = []
        metadata: Manifest = {}
        try:
            for name, part in page_parts(raw):
                if name == "metadata":
                    metadata = orjson.loads(part)
                else:
                    items += self._readable(resource, part)
                    await asyncio.sleep(0)  # others have their turn between two large ones
        except ValueError as error:
            raise KubernetesError(0, type(error).__name__, f"listing of {resource.plural}: {error}") from error
        if not metadata.get("resourceVersion"):
            raise KubernetesError(0, "Unreadable", f"listing of {resource.plural}: it has no version")
        return items, metadata

    def _readable(self, resource: ApiResource, raw: bytes) -> list[Manifest]:
        """Return an object or its stub, nothing when not even its name can be read."""
        try:
            found = read_item(raw)
        except Unreadable as error:
            self._passed_over(resource, None, str(error))
            return []
        if UNREAD in found:
            self._passed_over(resource, found, found[UNREAD])
        return [found]

    def _event(self, resource: ApiResource, line: bytes, *, whole: bool) -> WatchEvent | None:
        """Return an event, its object perhaps a stub; None when not even its name can be read."""
        try:
            event_type, found = read_event(line, whole=whole)
        except Unreadable as error:
            self._passed_over(resource, None, str(error))
            return None
        if event_type == "ERROR":
            raise_status(found.get("code", 0), found)
        if UNREAD in found:
            self._passed_over(resource, found, found[UNREAD])
        return WatchEvent(event_type, found)

    def _passed_over(self, resource: ApiResource, found: Manifest | None, why: str) -> None:
        self._metrics.unread.labels(resource.plural).inc()
        metadata = found["metadata"] if found else {}
        name = "/".join(str(metadata[part]) for part in ("namespace", "name") if metadata.get(part))
        logger.error("%s %s is not read: %s", resource.kind, name or "without a name", why)

    async def _json(
        self,
        verb: str,
        resource: ApiResource,
        path: str,
        body: Manifest | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        raw, whole = await self._transport.body(verb, resource.plural, path, body, content_type)
        try:
            found = read_object(raw, whole=whole)
        except ValueError as error:
            message = f"answer to {verb} {path.partition('?')[0]}: {error}"
            raise KubernetesError(0, type(error).__name__, message) from error
        if UNREAD in found:
            self._passed_over(resource, found, found[UNREAD])
        return found
