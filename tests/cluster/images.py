"""The images the cluster runs, and how each is built without asking a registry.

Every reference carries a digest of what the image is made of, so an unchanged image is neither built nor imported
again. Built images lie side by side in one OCI layout in the cache, where they share their layers.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import base_image, build_context, buildah, layout, oci_layout, progress, tools
from tests.cluster.errors import ClusterError
from tests.node_agent import library

_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_NODE_AGENT = layout.REPOSITORY / "tests" / "node_agent" / "agent.mjs"


@dataclass(frozen=True)
class ComposedImage:
    """An image made of a few files of this machine, its Dockerfile written here."""

    name: str
    repository: str
    dockerfile: str
    key: Callable[[], str]
    files: Callable[[], Mapping[str, Path]]
    version: str | None = None
    on_base: bool = False

    def digest(self) -> str:
        """Changes when the image must be built anew."""
        return tools.digest([self.dockerfile, self.key(), *([BASE.digest()] if self.on_base else [])], [])

    def build(self, reference: str) -> None:
        """Build it into buildah's storage."""
        with tempfile.TemporaryDirectory(prefix=f"{self.name}-") as folder:
            context = Path(folder)
            (context / "Dockerfile").write_text(self.dockerfile)
            for name, source in self.files().items():
                shutil.copy(source, context / name)
            arguments = _base_image() if self.on_base else {}
            buildah.build(self.name, reference, context / "Dockerfile", context, arguments)


@dataclass(frozen=True)
class ProjectImage:
    """An image of this repository, built from its Dockerfile on the base."""

    name: str
    repository: str
    dockerfile: Path
    context: Path
    version: str | None = None

    def digest(self) -> str:
        """Changes when the image must be built anew."""
        text = self._text()
        return tools.digest([text, BASE.digest()], build_context.files(self.context, text))

    def build(self, reference: str) -> None:
        """Build it into buildah's storage."""
        buildah.build(self.name, reference, self.dockerfile, self.context, _base_image())

    def _text(self) -> str:
        try:
            return self.dockerfile.read_text()
        except FileNotFoundError as error:
            raise ClusterError(f"image {self.name}: there is no {self.dockerfile}") from error


Image = ComposedImage | ProjectImage


@dataclass(frozen=True)
class Pinned:
    """An image as it is now: a source that is edited meanwhile makes another one, not this one twice."""

    image: Image
    # What the OCI layout knows it by.
    tag: str
    # What a pod names it by.
    reference: str


def pin(image: Image) -> Pinned:
    """The image that the sources make at this moment."""
    digest = image.digest()
    return Pinned(image, f"{image.name}-{digest}", f"{image.repository}:{image.version or f'dev-{digest}'}")


def _base_image() -> dict[str, str]:
    """Have the base in buildah's storage, and return the build argument that names it."""
    base = pin(BASE).reference
    if not buildah.has(base):
        BASE.build(base)
    return {"BASE_IMAGE": buildah.local_name(base)}


def _of_tool(
    name: str, repository: str, module: tools.Module, binary: str, version: str | None = None
) -> ComposedImage:
    """An image with nothing but one static binary, and the certificates it may verify others by."""
    return ComposedImage(
        name=name,
        repository=repository,
        dockerfile=(
            f'FROM scratch\nCOPY ca-certificates.crt {_CA_BUNDLE}\nCOPY {binary} /{binary}\nENTRYPOINT ["/{binary}"]\n'
        ),
        key=lambda: tools.key(module),
        files=lambda: {binary: tools.path(binary), "ca-certificates.crt": _CA_BUNDLE},
        version=version,
    )


BASE = ComposedImage(
    name="base",
    repository="livekit-operator-test/base",
    dockerfile=(
        "FROM scratch\nADD rootfs.tar /\n"
        "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8\n"
        'CMD ["python3"]\n'
    ),
    key=base_image.key,
    files=lambda: {"rootfs.tar": base_image.ensure_archive()},
)
PAUSE = _of_tool("pause", "livekit-operator-test/pause", tools.PAUSE, "pause")
COREDNS = _of_tool("coredns", "livekit-operator-test/coredns", tools.COREDNS, "coredns")
LIVEKIT_SERVER = _of_tool(
    "livekit-server",
    "livekit/livekit-server",
    tools.LIVEKIT,
    "livekit-server",
    version=tools.LIVEKIT.version_of("github.com/livekit/livekit-server"),
)
OPERATOR = ProjectImage(
    "operator", "livekit-operator/operator", layout.REPOSITORY / "operator" / "Dockerfile", layout.REPOSITORY
)
AGENT = ProjectImage(
    "agent",
    "livekit-operator/agent",
    layout.REPOSITORY / "agent_image" / "Dockerfile",
    layout.REPOSITORY / "agent_image",
)
PROVIDERS = ProjectImage(
    "providers",
    "livekit-operator-test/providers",
    layout.REPOSITORY / "tests" / "providers" / "Dockerfile",
    layout.REPOSITORY / "tests" / "providers",
)
REDIS = ProjectImage(
    "redis",
    "livekit-operator-test/redis",
    layout.REPOSITORY / "tests" / "cluster" / "redis" / "Dockerfile",
    layout.REPOSITORY / "tests" / "cluster" / "redis",
)
HOSTILE = ProjectImage(
    "hostile",
    "livekit-operator-test/hostile",
    layout.REPOSITORY / "tests" / "hostile_server" / "Dockerfile",
    layout.REPOSITORY / "tests" / "hostile_server",
)
NODE_AGENT = ComposedImage(
    name="node-agent",
    repository="livekit-operator-test/node-agent",
    dockerfile=(
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nADD node_modules.tar /app/\n"
        "RUN ln -s /app/node_modules/node-linux-*/bin/node /usr/local/bin/node\n"
        'COPY agent.mjs /app/\nWORKDIR /app\nENV HOME=/tmp\nUSER 1000:1000\nCMD ["node", "agent.mjs", "start"]\n'
    ),
    key=lambda: tools.digest([library.digest(library.NEWEST)], [(_NODE_AGENT.name, _NODE_AGENT.read_bytes())]),
    files=lambda: {"node_modules.tar": library.archive(library.NEWEST), "agent.mjs": _NODE_AGENT},
    on_base=True,
)

# What the cluster itself needs to run any pod.
OF_THE_CLUSTER: tuple[Image, ...] = (PAUSE, COREDNS)
ALL: tuple[Image, ...] = (*OF_THE_CLUSTER, BASE, LIVEKIT_SERVER, OPERATOR, AGENT, PROVIDERS, REDIS, HOSTILE, NODE_AGENT)


def are_built(wanted: Iterable[Pinned]) -> bool:
    """Whether the OCI layout has all of these images."""
    return all(oci_layout.manifest_digest(pinned.tag) for pinned in wanted)


def ensure_built(wanted: Iterable[Pinned]) -> list[str]:
    """Have these images in the OCI layout; tell which had to be built. The caller holds the lock of images."""
    built = []
    for pinned in wanted:
        if not oci_layout.manifest_digest(pinned.tag):
            _build(pinned)
            built.append(pinned.image.name)
    return built


def _build(pinned: Pinned) -> None:
    with progress.step(f"image {pinned.image.name}") as step:
        pinned.image.build(pinned.reference)
        buildah.export(pinned.reference, pinned.tag)
        oci_layout.forget_others(pinned.image.name, pinned.tag)
        step.result = f"built {pinned.reference}"
