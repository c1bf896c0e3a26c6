"""Mount points are read off /proc/self/mountinfo."""

from pathlib import Path

from tests.cluster.machine import parse_mount_points


def test_mount_points_in_their_order_with_blanks_restored() -> None:
    text = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n23 22 0:4 net:[1] /run/a\\040b/net rw - nsfs nsfs rw\n"
    assert parse_mount_points(text) == [Path("/"), Path("/run/a b/net")]
