"""The API server, as plain dicts over one session.

`kubernetes.aio` gives credentials and TLS; its typed models are left out because building them took half of a
reconcile's time, and its own session because it writes JSON by the standard library. What orjson reads takes two
thirds of the memory: it keeps each key once. Requests that change something name the one field manager.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import ApiClient, Configuration

from livekit_operator.api.kinds import KINDS
from livekit_operator.constants import API_VERSION, FIELD_MANAGER
from livekit_operator.errors import Conflict, KubernetesError, NamespaceTerminating, NotFound
from livekit_operator.metrics import Metrics

Manifest = dict[str, Any]

_MAX_LOG_BYTES = 4096
_CONNECTIONS = 64
# An event of a watch is a line, and at most this long (etcd takes 1.5 MiB for an object).
_BUFFER_BYTES = 2**21
_LIMITS = aiohttp.ClientTimeout(total=30)


@dataclass(frozen=True)
class ApiResource:
    """A kind of object and where the API server serves it."""

    api_version: str
    plural: str
    kind: str

    @property
    def type_meta(self) -> Manifest:
        """Return the fields by which an object says what it is."""
        return {"apiVersion": self.api_version, "kind": self.kind}

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of a collection or an object."""
        prefix = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        parts = [prefix]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [self.plural, *([name] if name else []), *([subresource] if subresource else [])]
        return "/".join(parts)


RESOURCES: Mapping[str, ApiResource] = {
    resource.kind: resource
    for resource in (
        ApiResource("v1", "pods", "Pod"),
        ApiResource("v1", "secrets", "Secret"),
        ApiResource("v1", "services", "Service"),
        ApiResource("v1", "configmaps", "ConfigMap"),
        ApiResource("v1", "events", "Event"),
        ApiResource("v1", "serviceaccounts", "ServiceAccount"),
        ApiResource("v1", "nodes", "Node"),
        ApiResource("apps/v1", "deployments", "Deployment"),
        ApiResource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget"),
        ApiResource("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy"),
        ApiResource("networking.k8s.io/v1", "ingresses", "Ingress"),
        ApiResource("gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute"),
        ApiResource("cert-manager.io/v1", "certificates", "Certificate"),
        *(ApiResource(API_VERSION, kind.plural, kind.kind) for kind in KINDS),
    )
}


@dataclass(frozen=True)
class WatchEvent:
    """A change: type ADDED, MODIFIED or DELETED, and the object after it."""

    type: str
    object: Manifest


class WatchExpired(Exception):
    """The watch cannot go on from its resource version; list again."""


class Kubernetes(Protocol):
    """What the operator asks of the API server. All raise KubernetesError or its NotFound and Conflict."""

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object."""
        ...

    async def list(self, kind: str, selector: str | None = None) -> tuple[list[Manifest], str]:
        """Return the objects of all namespaces and the resource version to watch from."""
        ...

    def watch(self, kind: str, resource_version: str, selector: str | None = None) -> AsyncIterator[WatchEvent]:
        """Yield changes until the server ends the stream; raises WatchExpired when a listing is needed."""
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

    async def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> str:
        """Return the last lines of a container's output, or of the one that ran before it; at most 4 KiB."""
        ...


class KubernetesClient:
    """The implementation over HTTPS."""

    def __init__(self, configuration: Configuration, metrics: Metrics) -> None:
        self._configuration = configuration
        self._client = ApiClient(configuration)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._client.rest_client.ssl_context, limit=_CONNECTIONS),
            proxy=configuration.proxy,
            # Without this aiohttp reads netrc in a thread for every request.
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_LIMITS,
            read_bufsize=_BUFFER_BYTES,
        )
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
        await self._session.close()
        await self._client.close()

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object."""
        return await self._json("GET", RESOURCES[kind], RESOURCES[kind].path(namespace, name))

    async def list(self, kind: str, selector: str | None = None) -> tuple[list[Manifest], str]:
        """Return the objects of all namespaces, page by page, and the resource version to watch from."""
        resource = RESOURCES[kind]
        items: list[Manifest] = []
        query: dict[str, str] = {"limit": "500", **({"labelSelector": selector} if selector else {})}
        while True:
            try:
                page = await self._json("GET", resource, f"{resource.path()}?{urlencode(query)}")
            except WatchExpired as error:
                if "continue" not in query:
                    raise KubernetesError(410, "Expired", str(error)) from error
                # The pages left belong to a state that the API server has forgotten: all of it anew, in one page.
                items, query = [], {"labelSelector": selector} if selector else {}
                continue
            for item in page.get("items") or ():
                # Before there are thousands of them: nobody asks who wrote what, and it is half of an object.
                item["metadata"].pop("managedFields", None)
                # The items of a list do not say their kind, those of a watch and of every other answer do.
                items.append({**resource.type_meta, **item})
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return items, str(metadata["resourceVersion"])
            query["continue"] = metadata["continue"]

    async def watch(self, kind: str, resource_version: str, selector: str | None = None) -> AsyncIterator[WatchEvent]:
        """Yield changes until the server ends the stream; raises WatchExpired when a listing is needed."""
        resource = RESOURCES[kind]
        query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": resource_version}
        query |= {"timeoutSeconds": "300", **({"labelSelector": selector} if selector else {})}
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=310)
        response = await self._request("GET", resource, f"{resource.path()}?{urlencode(query)}", limits=limits)
        try:
            async with response:
                async for line in response.content:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        _raise_status(event["object"].get("code", 0), event["object"])
                    yield WatchEvent(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
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

    async def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> str:
        """Return the last lines of a container's output, or of the one that ran before it; at most 4 KiB."""
        resource = RESOURCES["Pod"]
        query = {"container": container, "tailLines": "20", "limitBytes": str(_MAX_LOG_BYTES)}
        query |= {"previous": "true"} if previous else {}
        path = f"{resource.path(namespace, pod, 'log')}?{urlencode(query)}"
        response = await self._request("GET", resource, path)
        try:
            async with response:
                return (await response.content.read(_MAX_LOG_BYTES)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise KubernetesError(0, type(error).__name__, f"log of {pod}: {error}") from error

    async def _json(
        self,
        verb: str,
        resource: ApiResource,
        path: str,
        body: Manifest | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        response = await self._request(verb, resource, path, body, content_type)
        try:
            async with response:
                payload: Manifest = orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            message = f"answer to {verb} {path.partition('?')[0]}: {error}"
            raise KubernetesError(0, type(error).__name__, message) from error
        return payload

    async def _request(
        self,
        verb: str,
        resource: ApiResource,
        path: str,
        body: Manifest | None = None,
        content_type: str = "application/json",
        limits: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, verb, body)
        try:
            response = await self._session.request(
                verb,
                self._configuration.host + path,
                headers=headers,
                data=None if body is None else orjson.dumps(body),
                server_hostname=self._configuration.tls_server_name,
                timeout=limits or _LIMITS,
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            self._metrics.api_requests.labels(verb, resource.plural, "none").inc()
            raise KubernetesError(0, type(error).__name__, f"{verb} {path.partition('?')[0]}: {error}") from error
        self._metrics.api_requests.labels(verb, resource.plural, str(response.status)).inc()
        if response.status >= 400:
            await _raise(response)
        return response


async def _raise(response: aiohttp.ClientResponse) -> NoReturn:
    raw = b""
    try:
        async with response:
            raw = await response.read()
        status = orjson.loads(raw)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        status = None
    if not isinstance(status, dict):  # not from the API server itself: a proxy in front of it
        status = {"reason": response.reason, "message": raw[:500].decode(errors="replace")}
    _raise_status(response.status, status)


def _raise_status(code: int, status: Manifest) -> NoReturn:
    """Raise the error of a `Status` object."""
    reason, message = status.get("reason") or "", status.get("message") or ""
    if code == 410:
        raise WatchExpired(message)
    causes = [cause.get("reason") for cause in (status.get("details") or {}).get("causes") or ()]
    if "NamespaceTerminating" in causes:  # k8s.io/api core/v1 NamespaceTerminatingCause
        raise NamespaceTerminating(code, reason, message)
    error = {404: NotFound, 409: Conflict}.get(code, KubernetesError)
    raise error(code, reason, message)
