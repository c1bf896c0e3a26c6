"""Cgroup hierarchies are read off the mount table, of either version."""

from pathlib import Path

import pytest

from tests.cluster import cgroups
from tests.cluster.cgroups import Hierarchy, parse_mounts

_V1 = """\
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,nodev,noexec,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,xattr,release_agent=/lib/agent,name=systemd 0 0
"""
_V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0\n"


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ("", []),
        ("proc /proc proc rw 0 0\n", []),
        (_V2, [Hierarchy(Path("/sys/fs/cgroup"), 2, frozenset())]),
        (
            _V1,
            [
                Hierarchy(Path("/sys/fs/cgroup/cpu,cpuacct"), 1, frozenset({"cpu", "cpuacct"})),
                Hierarchy(Path("/sys/fs/cgroup/memory"), 1, frozenset({"memory"})),
                Hierarchy(Path("/sys/fs/cgroup/systemd"), 1, frozenset({"name=systemd"})),
            ],
        ),
    ],
)
def test_hierarchies_in_a_mount_table(mounts: str, expected: list[Hierarchy]) -> None:
    assert parse_mounts(mounts) == expected


def test_both_versions_at_once() -> None:
    hybrid = _V1 + "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    assert [hierarchy.version for hierarchy in parse_mounts(hybrid)] == [1, 1, 1, 2]


def test_a_hierarchy_mounted_twice_counts_once() -> None:
    again = "cgroup /mnt/again cgroup rw,memory 0 0\n"
    assert [hierarchy.mount for hierarchy in parse_mounts(_V1 + again)].count(Path("/mnt/again")) == 0


def test_a_mount_point_with_a_blank() -> None:
    assert parse_mounts(r"cgroup2 /sys/a\040b cgroup2 rw 0 0")[0].mount == Path("/sys/a b")


@pytest.mark.parametrize(("version", "file", "weight"), [(1, "cpu.shares", "16384"), (2, "cpu.weight", "1600")])
def test_a_group_may_count_as_many_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, file: str, weight: str
) -> None:
    found = [Hierarchy(tmp_path / name, version, frozenset()) for name in ("cpu", "memory")]
    monkeypatch.setattr(cgroups, "hierarchies", lambda: found)
    for hierarchy in found:
        (hierarchy.mount / "cluster").mkdir(parents=True)
    (tmp_path / "cpu" / "cluster" / file).write_text("1")
    cgroups.weigh("cluster", 16)
    assert (tmp_path / "cpu" / "cluster" / file).read_text() == weight
    assert not list((tmp_path / "memory" / "cluster").iterdir()), "not every hierarchy weighs"
