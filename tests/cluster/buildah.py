"""Building images with buildah, in a storage of the cluster's own."""

import configparser
import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import layout, oci_layout, progress
from tests.cluster.commands import run, succeeds
from tests.cluster.errors import ClusterError, log_tail

_FOLDER = layout.CACHE / "images"
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# What buildah says on a busy machine: it seals a copy of itself in memory, and the kernel refuses while a page of it is
# still in use elsewhere (EBUSY of F_ADD_SEALS in fcntl(2), which waits a third of a second at most).
_NOT_SEALED = "sealing memfd copy: Device or resource busy"
_SEALING_TRIES = 3
_IGNORED = "**/__pycache__\n**/*.pyc\n**/.pytest_cache\n.git\n.venv\n.cluster\n"


def local_name(reference: str) -> str:
    """What buildah calls an image that was built here under this reference."""
    return f"localhost/{reference}"


def has(reference: str) -> bool:
    """Whether an image is in the storage."""
    return succeeds(*_buildah("inspect", "--type", "image", local_name(reference)))


def build(
    name: str, reference: str, dockerfile: Path, context: Path, arguments: Mapping[str, str] | None = None
) -> None:
    """Build an image; unchanged first steps come from buildah's cache of layers."""
    log = layout.LOGS / f"image-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with _build_volumes() as volumes, tempfile.NamedTemporaryFile("w", suffix=".ignore") as ignored:
        ignored.write(_IGNORED)
        ignored.flush()
        own_ignores = any((context / file).exists() for file in (".containerignore", ".dockerignore"))
        command = _buildah(
            "build",
            "--isolation=chroot",
            "--network=host",
            "--layers",
            "--pull=never",
            *(() if own_ignores else (f"--ignorefile={ignored.name}",)),
            *(f"--build-arg={key}={value}" for key, value in (arguments or {}).items()),
            *(f"--volume={source}:{target}:ro" for source, target in volumes.items()),
            f"--file={dockerfile}",
            f"--tag={local_name(reference)}",
            str(context),
        )
        code = run_until_sealed(lambda: _run_shown(command, log), log)
    if code:
        raise ClusterError(f"build of the image {name} failed{log_tail(log, lines=60)}")


def run_until_sealed(build_once: Callable[[], int], log: Path) -> int:
    """Run a build, again where buildah could not seal its copy; any other failure is the build's own.

    The steps that were done come from the cache of layers.
    """
    code = build_once()
    for _ in range(_SEALING_TRIES - 1):
        if not code or _NOT_SEALED not in log.read_text():
            break
        code = build_once()
    return code


def _run_shown(command: list[str], log: Path) -> int:
    """Run a build into its log, with the Dockerfile's steps as signs of life."""
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as building,
    ):
        assert building.stdout
        for line in building.stdout:
            output.write(line)
            if "STEP " in line[:20]:
                progress.doing(line.strip()[:70])
    return building.returncode


def export(reference: str, tag: str) -> None:
    """Copy an image from the storage to the OCI layout."""
    progress.doing("copying layers")
    # By way of a Docker archive, for buildah would compress every layer anew for an OCI layout.
    command = _buildah("push", "--quiet", local_name(reference), "docker-archive:/dev/stdout")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as pushing:
        assert pushing.stdout
        try:
            oci_layout.add(tag, pushing.stdout)
        except tarfile.TarError as error:
            raise ClusterError(f"buildah wrote no archive of {reference}") from error
    if pushing.returncode:
        raise ClusterError(f"buildah could not copy {reference}")


def _buildah(*arguments: str) -> list[str]:
    storage = (f"--root={_FOLDER / 'storage'}", f"--runroot={_FOLDER / 'run'}")
    return ["buildah", *storage, *arguments]


@contextmanager
def _build_volumes() -> Iterator[dict[Path, Path]]:
    """What lets pip work in a build as it does on this machine, mounted so that nothing of it stays in the image."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as configuration:
        configuration.write(pip_configuration(run("pip", "config", "list", cwd=Path("/")), os.environ))
        configuration.flush()
        volumes = {Path(configuration.name): Path("/etc/pip.conf")}
        if _CA_BUNDLE.exists():
            volumes[_CA_BUNDLE] = _CA_BUNDLE
        yield volumes


def pip_configuration(listing: str, environment: Mapping[str, str]) -> str:
    """One pip.conf that says what this machine's files (`pip config list`) and PIP_* variables say."""
    settings = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.partition(".")
        if section == "global" and option:
            settings[option] = value.strip("'\"")
    for name, value in environment.items():
        if name.startswith("PIP_"):
            settings[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    # A folder of this machine, which a build does not see.
    settings.pop("find-links", None)
    settings["cert"] = str(_CA_BUNDLE)
    parser = configparser.RawConfigParser()
    parser["global"] = settings
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()
