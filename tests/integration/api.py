"""The API server as an administrator sees it: any path, any verb, the answer whatever it is."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import ApiClient, Configuration

from livekit_operator.clients.api_resources import RESOURCES
from livekit_operator.clients.kubernetes import KubernetesClient
from livekit_operator.metrics import Metrics
from tests.harness.target import Target

Manifest = dict[str, Any]


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
        self._client = ApiClient(admin)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def request(
        self,
        verb: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Answer:
        """Send a request."""
        headers = {"Accept": accept, "Content-Type": content_type}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, verb, body)
        answer = await self._client.rest_client.request(
            verb,
            self.configuration.host + path,
            headers=headers,
            body=body,
            _request_timeout=aiohttp.ClientTimeout(total=180),
        )
        async with answer.response as response:
            raw = await response.read()
        return Answer(response.status, json.loads(raw))

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object, or None."""
        answer = await self.request("GET", RESOURCES[kind].path(namespace, name))
        return None if answer.status == 404 else answer.accepted()

    async def list(self, kind: str, namespace: str) -> "list[Manifest]":
        """Return the objects of a namespace."""
        answer = await self.request("GET", RESOURCES[kind].path(namespace))
        items: list[Manifest] = answer.accepted()["items"]
        return items

    async def try_create(self, manifest: Manifest, **query: str) -> Answer:
        """Create an object as a strict client does; return whatever comes."""
        path = RESOURCES[manifest["kind"]].path(manifest["metadata"]["namespace"])
        options = {"fieldValidation": "Strict", **query}
        return await self.request("POST", f"{path}?{'&'.join(f'{k}={v}' for k, v in options.items())}", manifest)

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        return (await self.try_create(manifest)).accepted()

    async def try_patch(
        self, kind: str, namespace: str, name: str, patch: object, subresource: str | None = None
    ) -> Answer:
        """Merge-patch an object as a user does; return whatever comes."""
        path = RESOURCES[kind].path(namespace, name, subresource)
        query = "?fieldManager=kubectl-edit&fieldValidation=Strict"
        return await self.request("PATCH", path + query, patch, content_type="application/merge-patch+json")

    async def patch(
        self, kind: str, namespace: str, name: str, patch: object, subresource: str | None = None
    ) -> Manifest:
        """Merge-patch an object as a user does."""
        return (await self.try_patch(kind, namespace, name, patch, subresource)).accepted()

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object; one that is gone already is fine."""
        answer = await self.request("DELETE", RESOURCES[kind].path(namespace, name))
        assert answer.status < 300 or answer.status == 404, answer.message

    async def apply(self, path: str, manifest: Manifest, manager: str, *, dry_run: bool = False) -> Answer:
        """Server-side apply any object."""
        query = f"?fieldManager={manager}&force=true&fieldValidation=Strict{'&dryRun=All' if dry_run else ''}"
        return await self.request("PATCH", path + query, manifest, content_type="application/apply-patch+yaml")


async def operator_client(
    admin: Configuration, metrics: Metrics, token: str | None = None, client: type[KubernetesClient] = KubernetesClient
) -> KubernetesClient:
    """Return the operator's own client, as the administrator or with a ServiceAccount's token."""
    copied = with_token(admin, token) if token else admin
    return client(copied, metrics)
