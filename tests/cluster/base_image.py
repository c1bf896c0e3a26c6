"""The root file system of the images' base: a stand-in for python:3.11-slim-bookworm, made by debootstrap.

No container registry is asked for anything, so what the Dockerfiles take from one in production is passed to them as
the build argument BASE_IMAGE.
"""

import shutil
import subprocess
from pathlib import Path

from tests.cluster import layout, progress
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError, log_tail
from tests.cluster.machine import mounts_below, unmount
from tests.cluster.tools import digest

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")

# Like the official image: `python` and `pip` are there, pip may install, and no documentation or package lists.
_FINISH = """
ln -s /usr/bin/python3 usr/local/bin/python3
ln -s /usr/bin/python3 usr/local/bin/python
rm -f usr/lib/python3*/EXTERNALLY-MANAGED
rm -rf var/cache/apt/archives var/cache/apt/*.bin var/lib/apt/lists var/log/* usr/share/doc usr/share/man
rm -rf usr/share/locale usr/share/info debootstrap etc/resolv.conf
mkdir -p var/lib/apt/lists/partial var/cache/apt/archives/partial
"""


def key() -> str:
    """Changes when the file system must be made anew."""
    return digest([SUITE, *PACKAGES, _FINISH], [])


def ensure_archive() -> Path:
    """The file system as a tar archive; made first when it is not in the cache."""
    archive = layout.CACHE / "images" / f"rootfs-{key()}.tar"
    if not archive.exists():
        _make(archive)
    return archive


def clean() -> None:
    """Remove what an interrupted run left, its mounts first."""
    unfinished = _unfinished()
    for mount in mounts_below(unfinished):
        unmount(mount)
    if unfinished.exists():
        shutil.rmtree(unfinished)


def _unfinished() -> Path:
    return layout.CACHE / "images" / "rootfs.unfinished"


def _make(archive: Path) -> None:
    clean()
    root = _unfinished()
    root.mkdir(parents=True)
    with progress.step("base file system") as step:
        _debootstrap(root, step)
        step.doing = "packing"
        run("sh", "-ec", _FINISH, cwd=root)
        new = archive.with_suffix(".new")
        run("tar", "--create", "--file", new, "--numeric-owner", "--directory", root, ".")
        new.replace(archive)
        step.result = "made"
    clean()


def _debootstrap(root: Path, step: progress.Step) -> None:
    log = layout.LOGS / "debootstrap.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root), *_mirror()]
    with log.open("w") as output:
        making = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True)
        assert making.stdout
        for line in making.stdout:
            step.doing = line.removeprefix("I: ").strip()
            output.write(line)
    if making.wait():
        raise ClusterError(f"debootstrap failed{log_tail(log)}")


def _mirror() -> list[str]:
    """The mirror that this machine's apt uses for the suite; none leaves debootstrap its own default."""
    listing = run("apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
    fitting = (line.split()[2] for line in listing.splitlines() if line.startswith(f"{SUITE} main "))
    return list(fitting)[:1]
