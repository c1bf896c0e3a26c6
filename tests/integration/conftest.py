"""A namespace for each test at a real API server that has the CRDs of this checkout, one for each pytest process."""

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fakes.waiting import eventually_async
from tests.harness.api import Api, configuration
from tests.harness.control_plane import EVERY_CONTROLLER
from tests.harness.target import Target
from tests.integration.own_cluster import own_cluster


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    """Return a control plane with every controller and no node. Fails in the end when a program of it has ended."""
    async with own_cluster(tmp_path_factory.mktemp("cluster"), EVERY_CONTROLLER) as (plane, _):
        yield plane.target


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
