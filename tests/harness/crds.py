"""CRDs of others that the operator works with: Gateway API and cert-manager.

Only the definitions, no controllers: a story acts as the controller, such as by writing the Secret a Certificate asks
for. They come from the Go modules that both projects publish, pinned in tests/cluster/tools/crds.
"""

import asyncio
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import layout, locking, tools
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError
from tests.harness.kubectl import Kubectl
from tests.harness.target import Target

_MODULE = tools.FOLDER / "crds"
# What a story installed it may remove; a cluster's own CRDs carry no such label.
_LABEL = "livekit-operator.dev/installed-by-tests"


@dataclass(frozen=True)
class Source:
    """CRDs in a Go module: their group and plural names, and the folder their files are in."""

    name: str
    module: str
    folder: str
    group: str
    plurals: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The files' names."""
        return tuple(f"{self.group}_{plural}.yaml" for plural in self.plurals)

    @property
    def crds(self) -> tuple[str, ...]:
        """The CRDs' names."""
        return tuple(f"{plural}.{self.group}" for plural in self.plurals)


GATEWAY_API = Source(
    "gateway-api",
    "sigs.k8s.io/gateway-api",
    "config/crd/standard",
    "gateway.networking.k8s.io",
    ("gatewayclasses", "gateways", "httproutes"),
)
CERT_MANAGER = Source(
    "cert-manager",
    "github.com/cert-manager/cert-manager",
    "deploy/crds",
    "cert-manager.io",
    ("certificaterequests", "certificates", "clusterissuers", "issuers"),
)


async def install_gateway_api(target: Target) -> None:
    """Have Gateway, GatewayClass and HTTPRoute in the cluster; those that are there stay as they are."""
    await _install(target, GATEWAY_API)


async def remove_gateway_api(target: Target) -> None:
    """Remove what `install_gateway_api` brought, with every object of these kinds."""
    await _remove(target, GATEWAY_API)


async def install_cert_manager(target: Target) -> None:
    """Have Certificate, CertificateRequest, Issuer and ClusterIssuer in the cluster; those there stay as they are."""
    await _install(target, CERT_MANAGER)


async def remove_cert_manager(target: Target) -> None:
    """Remove what `install_cert_manager` brought, with every object of these kinds."""
    await _remove(target, CERT_MANAGER)


async def _install(target: Target, source: Source) -> None:
    kubectl = Kubectl(target, "default")
    there = {crd["metadata"]["name"] for crd in await kubectl.find("customresourcedefinitions")}
    missing = [file for file, crd in zip(source.files, source.crds, strict=True) if crd not in there]
    if missing:
        folder = await asyncio.to_thread(ensure_files, source)
        label = (f"{_LABEL}={source.name}", "--local", "--output", "json")
        files = [word for file in missing for word in ("--filename", str(folder / file))]
        labelled = await kubectl("label", *files, *label)
        await kubectl("apply", "--server-side", "--filename", "-", stdin=labelled)
    names = [f"customresourcedefinition/{name}" for name in source.crds]
    await kubectl("wait", "--for", "condition=Established", "--timeout", "30s", *names)


async def _remove(target: Target, source: Source) -> None:
    selector = f"{_LABEL}={source.name}"
    await Kubectl(target, "default")(
        "delete", "customresourcedefinitions", "--selector", selector, "--wait", "--timeout", "60s"
    )


def ensure_files(source: Source) -> Path:
    """Return the folder in the cache with the CRDs' files; they are fetched first when it is not there.

    Raises ClusterError when the module cannot be fetched or does not match its checksum.
    """
    pins = [(name, (_MODULE / name).read_bytes()) for name in ("go.mod", "go.sum")]
    folder = layout.CACHE / "crds" / f"{source.name}-{tools.digest([source.folder, *source.files], pins)}"
    with locking.exclusive(f"crds-{source.name}"):
        if not folder.is_dir():
            _fetch(source, folder)
    return folder


def _fetch(source: Source, folder: Path) -> None:
    answer = json.loads(run("go", "mod", "download", "-json", source.module, cwd=_MODULE))
    if "Dir" not in answer:
        raise ClusterError(f"{source.module}: {answer.get('Error')}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for file in source.files:
            shutil.copyfile(Path(answer["Dir"]) / source.folder / file, unfinished / file)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
