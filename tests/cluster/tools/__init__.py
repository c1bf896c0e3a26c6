"""The cluster's programs, built from Go modules pinned beside this file.

One small module per tool, because their `replace` lines conflict. What is built lands in the cache under a key of
everything that decides the outcome, so a tool is built once, and again only when its module, flags or Go change.
"""

import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import layout, locking, progress
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError

FOLDER = Path(__file__).resolve().parent
_CONTAINERD = "github.com/containerd/containerd/v2"


@dataclass(frozen=True)
class Module:
    """A Go module of ours: the commands to build in it, by the name of their binary."""

    name: str
    commands: Mapping[str, str] = field(hash=False)
    tags: str = ""
    # Variables set to the version that go.mod pins for `versioned`.
    versioned: str = ""
    version_variables: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its go.mod lies."""
        return FOLDER / self.name

    def version_of(self, dependency: str) -> str:
        """The version its go.mod pins."""
        found = re.search(rf"^(?:require|\t) ?{re.escape(dependency)} (v\S+)", self._go_mod(), re.MULTILINE)
        if not found:
            raise ClusterError(f"{self.folder}/go.mod pins no {dependency}")
        return found[1]

    def flags(self) -> list[str]:
        """What decides the build beside the sources."""
        variables = [f"-X {name}={self.version_of(self.versioned)}" for name in self.version_variables]
        return ["-trimpath", "-tags", self.tags, "-ldflags", " ".join(["-s -w", *variables])]

    def _go_mod(self) -> str:
        return (self.folder / "go.mod").read_text()


KUBERNETES = Module(
    "kubernetes",
    {
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-proxy",
            "kube-scheduler",
            "kubectl",
            "kubelet",
        )
    },
    versioned="k8s.io/kubernetes",
    # Without these every version reads v0.0.0-master, which clients do not understand.
    version_variables=("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"),
)
CONTAINERD = Module(
    "containerd",
    {name: f"{_CONTAINERD}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
    tags="no_btrfs,no_zfs,no_devmapper",
    versioned=_CONTAINERD,
    version_variables=(f"{_CONTAINERD}/version.Version",),
)
PAUSE = Module("pause", {"pause": "."})
COREDNS = Module("coredns", {"coredns": "."})
LIVEKIT = Module("livekit", {"livekit-server": "github.com/livekit/livekit-server/cmd/server"})
HELM = Module("helm", {"helm": "helm.sh/helm/v4/cmd/helm"})

MODULES = (KUBERNETES, CONTAINERD, PAUSE, COREDNS, LIVEKIT, HELM)
# What people use by hand.
LINKED = ("kubectl", "helm", "livekit-server", "ctr")


def path(name: str) -> Path:
    """The binary of this name; built first when it is not in the cache."""
    for module in MODULES:
        if name in module.commands:
            return ensure(module) / name
    raise KeyError(name)


@functools.cache
def ensure(module: Module) -> Path:
    """The folder with a module's binaries; built first when it is not in the cache."""
    folder = layout.CACHE / "tools" / f"{module.name}-{key(module)}"
    if folder.is_dir():
        return folder
    with locking.exclusive(f"tool-{module.name}"):
        if not folder.is_dir():
            _build(module, folder)
    return folder


def ensure_all() -> None:
    """Build every tool that is missing, and link the ones that people use."""
    with progress.step("tools") as step:
        built = [module.name for module in MODULES if not _is_built(module)]
        for module in MODULES:
            step.doing = f"building {module.name}"
            ensure(module)
        step.result = f"built {', '.join(built)}" if built else "in the cache"
    layout.BIN.mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        link = layout.BIN / name
        link.unlink(missing_ok=True)
        link.symlink_to(path(name))


def _is_built(module: Module) -> bool:
    return (layout.CACHE / "tools" / f"{module.name}-{key(module)}").is_dir()


def key(module: Module) -> str:
    """The cache key of a module: a digest of its sources, flags and the Go that builds it."""
    sources = (file for file in sorted(module.folder.iterdir()) if file.suffix in (".go", ".mod", ".sum"))
    return digest(
        [_go_version(), *module.flags(), *(f"{name}={package}" for name, package in sorted(module.commands.items()))],
        [(file.name, file.read_bytes()) for file in sources],
    )


def digest(words: Iterable[str], files: Iterable[tuple[str, bytes]]) -> str:
    """A short digest of words and named file contents, in this order."""
    total = hashlib.sha256()
    for word in words:
        total.update(f"{len(word)}:{word}".encode())
    for name, content in files:
        total.update(f"{len(name)}:{name}{len(content)}:".encode() + content)
    return total.hexdigest()[:12]


@functools.cache
def _go_version() -> str:
    return run("go", "env", "GOVERSION", "GOARCH", cwd=FOLDER / "pause").replace("\n", " ").strip()


def _build(module: Module, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with progress.step(f"build of {module.name}") as step:
        unfinished = Path(tempfile.mkdtemp(prefix=f".{module.name}-", dir=folder.parent))
        try:
            _compile(module, unfinished, step)
            unfinished.chmod(0o755)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        step.result = "built"


def _compile(module: Module, output: Path, step: progress.Step) -> None:
    # One command: -o names its file, whose name Go would take from the package; several: -o names their folder.
    target = f"{output}/" if len(module.commands) > 1 else str(output / next(iter(module.commands)))
    # Static binaries: they run in images made from nothing, and in any node.
    building = subprocess.Popen(
        ["go", "build", "-v", *module.flags(), "-o", target, *module.commands.values()],
        cwd=module.folder,
        env={**os.environ, "CGO_ENABLED": "0"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert building.stderr
    said: list[str] = []
    for line in building.stderr:
        said.append(line)
        step.doing = f"{len(said)} packages so far"
    if building.wait():
        raise ClusterError(f"go build in {module.folder} failed:\n{''.join(said[-30:])}")
