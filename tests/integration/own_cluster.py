"""A control plane of a test's own, with this checkout's CRDs, and its administrator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.harness.control_plane import ControlPlane, control_plane
from tests.integration.api import Api, configuration
from tests.integration.conftest import install_crds


@asynccontextmanager
async def own_cluster(folder: Path) -> AsyncIterator[tuple[ControlPlane, Api]]:
    """Run a control plane in an empty folder. Fails when a program of it ends by itself."""
    async with control_plane(folder) as plane:
        api = Api(await configuration(plane.target))
        try:
            await install_crds(api)
            yield plane, api
        finally:
            await api.close()
