"""The cluster's programs, built from Go modules pinned beside this file.

One small module per tool, because their `replace` lines conflict. What is built lands in the cache under a key of
everything that decides the outcome, so a tool is built once, and again only when its module, flags or Go change.
"""

import functools
import hashlib
import os
import re
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
    """A Go module of ours: the commands to build in it, by the name of their binary.

    It lies beside this file, or is no more than a `go_mod`, and Go finds out what else it needs.
    """

    name: str
    commands: Mapping[str, str] = field(hash=False)
    tags: str = ""
    # Variables set to the version that go.mod pins for `versioned`.
    versioned: str = ""
    version_variables: tuple[str, ...] = ()
    go_mod: str = ""

    @property
    def folder(self) -> Path:
        """Where its go.mod lies."""
        return FOLDER / self.name

    def version_of(self, dependency: str) -> str:
        """The version its go.mod pins."""
        text = self.go_mod or (self.folder / "go.mod").read_text()
        found = re.search(rf"^(?:require|\t) ?{re.escape(dependency)} (v\S+)", text, re.MULTILINE)
        if not found:
            raise ClusterError(f"go.mod of {self.name} pins no {dependency}")
        return found[1]

    def flags(self) -> list[str]:
        """What decides the build beside the sources."""
        variables = [f"-X {name}={self.version_of(self.versioned)}" for name in self.version_variables]
        # Go writes the sums of a bare go.mod's modules itself, and checks them against its checksum database.
        mode = ["-mod=mod"] if self.go_mod else []
        return [*mode, "-trimpath", "-tags", self.tags, "-ldflags", " ".join(["-s -w", *variables])]

    def sources(self) -> dict[str, bytes]:
        """Its files by their names."""
        if self.go_mod:
            return {"go.mod": self.go_mod.encode()}
        files = sorted(self.folder.iterdir())
        return {file.name: file.read_bytes() for file in files if file.suffix in (".go", ".mod", ".sum")}


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
    return locking.made_once(folder, f"tool-{module.name}", functools.partial(_build, module))


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
    return digest(
        [_go_version(), *module.flags(), *(f"{name}={package}" for name, package in sorted(module.commands.items()))],
        module.sources().items(),
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
    with (
        progress.step(f"build of {module.name}") as step,
        tempfile.TemporaryDirectory(prefix=f".{module.name}-", dir=folder.parent) as written,
    ):
        if module.go_mod:
            (Path(written) / "go.mod").write_text(module.go_mod)
        _compile(module, Path(written) if module.go_mod else module.folder, folder, step)
        step.result = "built"


def _compile(module: Module, sources: Path, output: Path, step: progress.Step) -> None:
    # One command: -o names its file, whose name Go would take from the package; several: -o names their folder.
    target = f"{output}/" if len(module.commands) > 1 else str(output / next(iter(module.commands)))
    # Static binaries: they run in images made from nothing, and in any node.
    building = subprocess.Popen(
        ["go", "build", "-v", *module.flags(), "-o", target, *module.commands.values()],
        cwd=sources,
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
        raise ClusterError(f"go build of {module.name} failed:\n{''.join(said[-30:])}")
