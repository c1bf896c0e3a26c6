"""What a node is made of, and the mounts that hold it."""

import re
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from tests.cluster import addresses, cgroups, layout
from tests.cluster.commands import run


@dataclass(frozen=True)
class Node:
    """One node, by its number from 1; everything else about it follows."""

    index: int

    @classmethod
    def named(cls, name: str) -> "Node":
        """The node that Kubernetes knows by this name."""
        return cls(int(name.removeprefix("node-")))

    @property
    def name(self) -> str:
        """Its name in Kubernetes."""
        return f"node-{self.index}"

    @property
    def address(self) -> IPv4Address:
        """Its address on the switch."""
        return addresses.node_address(self.index)

    @cached_property
    def pod_network(self) -> IPv4Network:
        """Where its pods' addresses come from."""
        return addresses.pod_network(self.index)

    @property
    def data(self) -> Path:
        """Its disk."""
        return layout.DATA / self.name

    @property
    def run(self) -> Path:
        """What a restart of the node loses: sockets, pinned namespaces, container state."""
        return layout.RUN / self.name

    @property
    def network_namespace(self) -> Path:
        """The file to enter its network with: `nsenter --net=FILE`."""
        return self.run / "net"

    @property
    def mount_namespace(self) -> Path:
        """The file to enter its view of the file system with: `nsenter --mount=FILE`."""
        return self.run / "mnt"

    @property
    def containerd_socket(self) -> Path:
        """Where its container runtime listens."""
        return self.run / "containerd.sock"

    @property
    def cgroup(self) -> str:
        """The group of all its processes and pods."""
        return f"{cgroups.ROOT}/{self.name}"


def parse_mount_points(text: str) -> list[Path]:
    """The mount points in the text of /proc/self/mountinfo, in the order they were mounted."""
    points = (line.split(" ")[4] for line in text.splitlines())
    return [Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)) for point in points]


def is_mounted(path: Path) -> bool:
    """Whether something is mounted at this very place."""
    return path in _mount_points()


def mounts_below(folder: Path) -> list[Path]:
    """What is mounted at a folder or below it, the last mounted first."""
    return [point for point in reversed(_mount_points()) if point.is_relative_to(folder)]


def unmount(path: Path) -> None:
    """Unmount what is there, now or as soon as its last user is gone."""
    while is_mounted(path):
        run("umount", "--lazy", path)


def _mount_points() -> list[Path]:
    return parse_mount_points(Path("/proc/self/mountinfo").read_text())
