"""Reading from the API server by kubectl's names, but without a program for each look: stories look again and again.

Requests are made in threads, so that connections outlive the event loop of a single story.
"""

import asyncio
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from kubernetes import client, config

from tests.harness.target import Target

Manifest = dict[str, Any]
# Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_SECONDS = 30.0


class ReadError(Exception):
    """The API server refused, or did not answer; the message is its own."""


@dataclass(frozen=True)
class Resource:
    """Where objects of a kind are."""

    path: str
    plural: str
    kind: str
    api_version: str
    namespaced: bool

    def at(self, namespace: str, name: str = "") -> str:
        """Return the path of one object, or of a namespace's."""
        where = f"/namespaces/{quote(namespace)}" if self.namespaced else ""
        return f"{self.path}{where}/{self.plural}{f'/{quote(name)}' if name else ''}"


class Reader:
    """Gets and lists objects of one cluster by the names that kubectl takes for their kinds."""

    def __init__(self, target: Target) -> None:
        credentials = client.Configuration()
        config.load_kube_config(str(target.kubeconfig), target.context, client_configuration=credentials)
        self._host = credentials.host
        self._client = client.ApiClient(credentials)
        self._resources: dict[str, Resource] = {}

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object; raises ReadError when there is none."""
        return await asyncio.to_thread(self._get, kind, namespace, name)

    async def find(self, kinds: str, namespace: str, selector: str = "") -> list[Manifest]:
        """Return a namespace's objects of some kinds, whose names have commas between them; raises ReadError."""
        return await asyncio.to_thread(self._find, kinds.split(","), namespace, selector)

    def _get(self, kind: str, namespace: str, name: str) -> Manifest:
        return self._read(self._resource(kind).at(namespace, name))

    def _find(self, kinds: Sequence[str], namespace: str, selector: str) -> list[Manifest]:
        found: list[Manifest] = []
        for kind in kinds:
            resource = self._resource(kind)
            query = f"?{urlencode({'labelSelector': selector})}" if selector else ""
            items = self._read(f"{resource.at(namespace)}{query}")["items"]
            # Items of built-in kinds do not say what they are.
            found += [{"kind": resource.kind, "apiVersion": resource.api_version, **item} for item in items]
        return found

    def _resource(self, name: str) -> Resource:
        known = self._resources.get(name.lower())
        if known is None:  # kinds may have come since
            self._resources = {}
            for path in ("/api", "/apis"):
                for resource, names in _resources(self._read(path, accept=_DISCOVERY)):
                    for one in names:
                        self._resources.setdefault(one, resource)
            known = self._resources.get(name.lower())
        if known is None:
            raise ReadError(f'the server doesn\'t have a resource type "{name}"')
        return known

    def _read(self, path: str, *, accept: str = "application/json") -> Manifest:
        headers = {"Accept": accept}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
        pool: urllib3.PoolManager = self._client.rest_client.pool_manager
        try:
            answer = pool.request("GET", self._host + path, headers=headers, timeout=_SECONDS, retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise ReadError(f"The API server does not answer: {error}") from error
        try:
            body: Manifest = json.loads(answer.data)
        except ValueError:
            body = {"message": f"{answer.status}: {answer.data[:200]!r}"}
        if answer.status >= 300:
            reason = f"Error from server ({body.get('reason', answer.status)})"
            raise ReadError(f"{reason}: {body.get('message', '')}")
        return body


@functools.cache
def reader(target: Target) -> Reader:
    """Return the reader of a cluster, the same one for all stories of this process."""
    return Reader(target)


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
