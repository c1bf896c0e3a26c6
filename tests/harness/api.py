"""The API server as an administrator sees it: any path, any verb, kinds by the names that kubectl takes for them.

Requests are made in threads, so that connections outlive the event loop of a single story, and without a program for
each look: tests look again and again.
"""

import asyncio
import functools
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import Configuration
from kubernetes.client.rest import RESTClientObject

from livekit_operator.clients.kubernetes import KubernetesClient
from livekit_operator.metrics import Metrics
from tests.harness.target import Target

Manifest = dict[str, Any]
# Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_READ_SECONDS, _SECONDS = 30.0, 180.0
_AT_ONCE = 16
_JSON = {"Accept": "application/json", "Content-Type": "application/json"}


class Unanswered(OSError):
    """The API server did not answer."""


class Refused(Exception):
    """The API server refused; the message is its own, as kubectl tells it."""


@dataclass(frozen=True)
class Answer:
    """An answer of the API server; `body` is a Status when it refused."""

    status: int
    body: Manifest

    @property
    def message(self) -> str:
        """Return the words of a refusal."""
        return str(self.body.get("message", ""))

    def accepted(self) -> Manifest:
        """Return the body; fails when the API server refused."""
        assert self.status < 300, f"{self.status}: {self.message}"
        return self.body

    def given(self) -> Manifest:
        """Return the body; raises Refused."""
        if self.status >= 300:
            raise Refused(f"Error from server ({self.body.get('reason', self.status)}): {self.message}")
        return self.body


@dataclass(frozen=True)
class Resource:
    """Where objects of a kind are."""

    path: str
    plural: str
    kind: str
    api_version: str
    namespaced: bool

    def at(self, namespace: str, name: str = "", subresource: str | None = None) -> str:
        """Return the path of one object, or of a namespace's."""
        where = f"/namespaces/{quote(namespace)}" if self.namespaced else ""
        words = (self.plural, quote(name), subresource)
        return f"{self.path}{where}/{'/'.join(word for word in words if word)}"


async def configuration(target: Target) -> Configuration:
    """Return the administrator's credentials."""
    found = Configuration()
    await kubernetes_config.load_kube_config(
        config_file=str(target.kubeconfig), context=target.context, client_configuration=found
    )
    return found


def with_token(admin: Configuration, token: str) -> Configuration:
    """Return the credentials of a ServiceAccount at the same API server."""
    found = Configuration(host=admin.host)
    found.ssl_ca_cert, found.ca_cert_data = admin.ssl_ca_cert, admin.ca_cert_data
    found.verify_ssl = admin.verify_ssl
    found.api_key = {"BearerToken": token}
    found.api_key_prefix = {"BearerToken": "Bearer"}
    return found


class Api:
    """Requests as an administrator."""

    def __init__(self, admin: Configuration) -> None:
        self.configuration = admin
        self._connections: urllib3.PoolManager = RESTClientObject(admin).pool_manager
        self._threads = ThreadPoolExecutor(_AT_ONCE, "api")
        self._resources: dict[str, Resource] = {}

    async def close(self) -> None:
        """Close all connections; whoever waits for an answer still gets it."""
        self._threads.shutdown(wait=False)
        self._connections.clear()

    async def request(
        self,
        verb: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        seconds: float = _SECONDS,
    ) -> Answer:
        """Send a request; raises Unanswered."""
        headers = {"Accept": accept, "Content-Type": content_type}
        status, text = await self.exchange(verb, path, None if body is None else json.dumps(body), headers, seconds)
        try:
            return Answer(status, json.loads(text))
        except ValueError:
            return Answer(status, {"message": f"{status}: {text[:200]!r}"})

    async def exchange(
        self,
        verb: str,
        path: str,
        text: str | None = None,
        headers: Mapping[str, str] = _JSON,
        seconds: float = _SECONDS,
    ) -> tuple[int, bytes]:
        """Send text as it is; return status and text of the answer; raises Unanswered."""
        login = (await self.configuration.auth_settings()).get("BearerToken")
        sent = {**headers, **({login["key"]: str(login["value"])} if login else {})}
        send = functools.partial(self._send, verb, path, text, sent, seconds)
        return await asyncio.get_running_loop().run_in_executor(self._threads, send)

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object, or None; raises Refused and Unanswered."""
        answer = await self.read(kind, namespace, name)
        return None if answer.status == 404 else answer.given()

    async def read(self, kind: str, namespace: str, name: str) -> Answer:
        """Return what the API server answers who asks for an object; raises Refused for a kind it does not know."""
        return await self.request("GET", (await self._resource(kind)).at(namespace, name), seconds=_READ_SECONDS)

    async def list(self, kinds: str, namespace: str, selector: str = "") -> "list[Manifest]":
        """Return a namespace's objects of some kinds, with commas between these; raises Refused and Unanswered."""
        found: list[Manifest] = []
        for kind in kinds.split(","):
            resource = await self._resource(kind)
            query = f"?{urlencode({'labelSelector': selector})}" if selector else ""
            answer = await self.request("GET", f"{resource.at(namespace)}{query}", seconds=_READ_SECONDS)
            # Items of built-in kinds do not say what they are.
            named = {"kind": resource.kind, "apiVersion": resource.api_version}
            found += [{**named, **item} for item in answer.given()["items"]]
        return found

    async def try_create(self, manifest: Manifest, **query: str) -> Answer:
        """Create an object as a strict client does; return whatever comes."""
        path = (await self._resource(manifest["kind"])).at(manifest["metadata"]["namespace"])
        return await self.request("POST", f"{path}?{urlencode({'fieldValidation': 'Strict', **query})}", manifest)

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        return (await self.try_create(manifest)).accepted()

    async def try_patch(
        self, kind: str, namespace: str, name: str, patch: object, subresource: str | None = None
    ) -> Answer:
        """Merge-patch an object as a user does; return whatever comes."""
        path = (await self._resource(kind)).at(namespace, name, subresource)
        query = "?fieldManager=kubectl-edit&fieldValidation=Strict"
        return await self.request("PATCH", path + query, patch, content_type="application/merge-patch+json")

    async def patch(
        self, kind: str, namespace: str, name: str, patch: object, subresource: str | None = None
    ) -> Manifest:
        """Merge-patch an object as a user does."""
        return (await self.try_patch(kind, namespace, name, patch, subresource)).accepted()

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object; one that is gone already is fine."""
        answer = await self.request("DELETE", (await self._resource(kind)).at(namespace, name))
        assert answer.status < 300 or answer.status == 404, answer.message

    async def apply(self, path: str, manifest: Manifest, manager: str, *, dry_run: bool = False) -> Answer:
        """Server-side apply any object."""
        query = f"?fieldManager={manager}&force=true&fieldValidation=Strict{'&dryRun=All' if dry_run else ''}"
        return await self.request("PATCH", path + query, manifest, content_type="application/apply-patch+yaml")

    async def _resource(self, name: str) -> Resource:
        known = self._resources.get(name.lower())
        if known is None:  # kinds may have come since
            resources: dict[str, Resource] = {}
            for path in ("/api", "/apis"):
                answer = await self.request("GET", path, accept=_DISCOVERY, seconds=_READ_SECONDS)
                for resource, names in _resources(answer.given()):
                    for one in names:
                        resources.setdefault(one, resource)
            self._resources = resources
            known = resources.get(name.lower())
        if known is None:
            raise Refused(f'the server doesn\'t have a resource type "{name}"')
        return known

    def _send(
        self, verb: str, path: str, text: str | None, headers: dict[str, str], seconds: float
    ) -> tuple[int, bytes]:
        url = self.configuration.host + path
        try:
            answer = self._connections.request(verb, url, headers=headers, body=text, timeout=seconds, retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise Unanswered(f"The API server does not answer: {error}") from error
        return answer.status, answer.data


async def operator_client(
    admin: Configuration, metrics: Metrics, token: str | None = None, client: type[KubernetesClient] = KubernetesClient
) -> KubernetesClient:
    """Return the operator's own client, as the administrator or with a ServiceAccount's token."""
    copied = with_token(admin, token) if token else admin
    return client(copied, metrics)


def _resources(discovery: Manifest) -> Iterator[tuple[Resource, set[str]]]:
    """Yield each resource with its names; of a group the version that it prefers, which comes first."""
    for group in discovery["items"]:
        name = group["metadata"].get("name", "")
        for version in group["versions"][:1]:
            api_version = f"{name}/{version['version']}" if name else version["version"]
            path = f"/apis/{api_version}" if name else f"/api/{api_version}"
            for entry in version["resources"]:
                kind = entry["responseKind"]["kind"]
                resource = Resource(path, entry["resource"], kind, api_version, entry["scope"] == "Namespaced")
                names = {entry["resource"], entry.get("singularResource", ""), kind.lower()}
                yield resource, {*names, *entry.get("shortNames", ())} - {""}
