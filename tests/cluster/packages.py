"""The Debian packages the cluster is made of."""

import subprocess
from pathlib import Path

from tests.cluster import progress
from tests.cluster.commands import run

PACKAGES = (
    "buildah",
    "conntrack",
    "containernetworking-plugins",
    "debootstrap",
    "etcd-server",
    "ethtool",
    "iproute2",
    "iptables",
    "libfaketime",
    "mount",
    "nftables",
    "runc",
    "socat",
    "util-linux",
)
CNI_PLUGINS = Path("/usr/lib/cni")

# Debian asks this program before it starts a package's service; 101 forbids it (invoke-rc.d's policy layer).
_POLICY = Path("/usr/sbin/policy-rc.d")
_FORBID = "#!/bin/sh\n# Written by livekit-operator's tests/cluster while it installs packages.\nexit 101\n"


def ensure() -> None:
    """Install what is missing, without starting the services it brings (etcd's among them)."""
    with progress.step("packages") as step:
        missing = [name for name in PACKAGES if name not in _installed()]
        if not missing:
            step.result = "installed already"
            return
        step.doing = f"installing {' '.join(missing)}"
        _install(missing)
        step.result = f"installed {' '.join(missing)}"


def _installed() -> set[str]:
    # Not by `run`: dpkg-query fails when it knows nothing of one of the names.
    listing = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *PACKAGES],
        capture_output=True,
        text=True,
    ).stdout
    return {line.split()[0] for line in listing.splitlines() if line.endswith(" installed")}


def _install(names: list[str]) -> None:
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    # Others install packages too: wait for dpkg's lock instead of failing.
    apt = ("apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=600")
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text(_FORBID)
        _POLICY.chmod(0o755)
    try:
        run(*apt, "update", env=env, timeout=600)
        run(*apt, "install", "--no-install-recommends", *names, env=env, timeout=1200)
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)
