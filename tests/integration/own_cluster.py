"""A control plane of a test's own, with this checkout's CRDs, and its administrator."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import yaml

from tests.fakes.waiting import eventually_async
from tests.harness.api import Api, configuration
from tests.harness.control_plane import CONTROLLERS, ControlPlane, control_plane

_FOLDER = Path(__file__).resolve().parents[2] / "crds"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@asynccontextmanager
async def own_cluster(
    folder: Path, controllers: Sequence[str] = CONTROLLERS
) -> AsyncIterator[tuple[ControlPlane, Api]]:
    """Run a control plane in an empty folder. Fails when a program of it ends by itself."""
    async with control_plane(folder, controllers) as plane:
        api = Api(await configuration(plane.target))
        try:
            await _install_crds(api)
            yield plane, api
        finally:
            await api.close()


async def _install_crds(api: Api) -> None:
    """Have this checkout's CRDs served."""
    crds = [yaml.safe_load(path.read_text()) for path in sorted(_FOLDER.glob("*.yaml"))]
    for crd in crds:
        # Helm's name, so that a chart that is applied goes on owning its fields.
        (await api.apply(f"{_CRDS}/{crd['metadata']['name']}", crd, "helm")).accepted()
    for crd in crds:
        name = crd["metadata"]["name"]
        await eventually_async(partial(_established, api, name), f"{name} established", seconds=30)


async def _established(api: Api, name: str) -> bool:
    status = (await api.request("GET", f"{_CRDS}/{name}")).accepted().get("status") or {}
    return any(c["type"] == "Established" and c["status"] == "True" for c in status.get("conditions") or ())
