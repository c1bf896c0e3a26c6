"""A namespace for each test at a real API server that has the CRDs of this checkout."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.fakes.waiting import eventually_async
from tests.harness.target import Target, find_target
from tests.integration.api import Api, configuration

REPOSITORY = Path(__file__).resolve().parents[2]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OPERATORS = "/apis/apps/v1/deployments?labelSelector=" + quote(
    "app.kubernetes.io/name=livekit-operator,app.kubernetes.io/component=operator"
)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Target]:
    """Return the cluster, with this checkout's CRDs and without another operator. Fails when there is no cluster."""
    target = find_target()
    assert target.kubeconfig.exists(), f"no cluster: {target.kubeconfig} is missing; bring one up with `make cluster`"
    running = asyncio.run(_prepare(target))
    try:
        asyncio.run(_scale(target, dict.fromkeys(running, 0)))
        yield target
    finally:
        asyncio.run(_scale(target, running))


@pytest.fixture
async def api(cluster: Target) -> AsyncIterator[Api]:
    """Return the API server."""
    made = Api(await configuration(cluster))
    yield made
    await made.close()


@pytest.fixture
async def namespace(api: Api) -> AsyncIterator[str]:
    """Return an empty namespace that is deleted after the test."""
    name = f"test-{secrets.token_hex(4)}"
    await create_namespace(api, name)
    yield name
    await delete_namespace(api, name)


async def create_namespace(api: Api, name: str, labels: dict[str, str] | None = None) -> None:
    """Create a namespace."""
    metadata = {"name": name, "labels": labels or {}}
    (await api.request("POST", "/api/v1/namespaces", {"metadata": metadata})).accepted()

    async def has_account() -> bool:
        """Return whether pods can be created: they need the namespace's own ServiceAccount."""
        path = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        return (await api.request("GET", path)).status == 200

    await eventually_async(has_account, f"the ServiceAccount of {name}", seconds=30)


async def delete_namespace(api: Api, name: str) -> None:
    """Delete a namespace. No operator is left to let its servers and rooms go."""
    for kind in ("LiveKitServer", "MeetingRoom"):
        for held in await api.list(kind, name):
            if held["metadata"].get("finalizers"):
                await api.try_patch(kind, name, held["metadata"]["name"], {"metadata": {"finalizers": None}})
    (await api.request("DELETE", f"/api/v1/namespaces/{name}")).accepted()


async def install_crds(api: Api) -> None:
    """Have this checkout's CRDs served."""
    crds = [yaml.safe_load(path.read_text()) for path in sorted((REPOSITORY / "crds").glob("*.yaml"))]
    for crd in crds:
        # Helm's name, so that an installed chart goes on owning its fields.
        (await api.apply(f"{CRDS}/{crd['metadata']['name']}", crd, "helm")).accepted()
    for crd in crds:
        name = crd["metadata"]["name"]
        await eventually_async(partial(_established, api, name), f"{name} established", seconds=30)


async def _prepare(target: Target) -> dict[str, int]:
    """Install the CRDs; return which Deployments of operators have how many replicas."""
    api = Api(await configuration(target))
    try:
        ready = await _until_ready(api)
        assert ready, f"no cluster: {api.configuration.host} is not ready; bring it up with `make cluster`"
        await install_crds(api)
        found = (await api.request("GET", OPERATORS)).accepted()["items"]
        running = {_path(item): int(item["spec"]["replicas"]) for item in found if item["spec"]["replicas"]}
        assert target.local or not running, f"another operator runs in this cluster and would interfere: {running}"
    finally:
        await api.close()
    return running


async def _until_ready(api: Api) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(OSError):
            if (await api.request("GET", "/api/v1/namespaces/kube-system")).status == 200:
                return True
        await asyncio.sleep(1)
    return False


async def _established(api: Api, name: str) -> bool:
    status = (await api.request("GET", f"{CRDS}/{name}")).accepted().get("status") or {}
    return any(c["type"] == "Established" and c["status"] == "True" for c in status.get("conditions") or ())


async def _scale(target: Target, replicas: dict[str, int]) -> None:
    """Scale Deployments by path, and wait until the pods of those scaled to zero are gone."""
    api = Api(await configuration(target))
    try:
        for path, count in replicas.items():
            patch: dict[str, Any] = {"spec": {"replicas": count}}
            (await api.request("PATCH", path, patch, content_type="application/merge-patch+json")).accepted()

        async def stopped(path: str) -> bool:
            return not (await api.request("GET", path)).accepted()["status"].get("replicas")

        for path in [path for path, count in replicas.items() if not count]:
            await eventually_async(partial(stopped, path), f"{path} scaled to zero", seconds=60)
    finally:
        await api.close()


def _path(deployment: dict[str, Any]) -> str:
    metadata = deployment["metadata"]
    return f"/apis/apps/v1/namespaces/{metadata['namespace']}/deployments/{metadata['name']}"
