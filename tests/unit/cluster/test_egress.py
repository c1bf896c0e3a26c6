"""Pods reach nothing outside the cluster unless they are let, and then nothing of the cluster's own is translated."""

import pytest

from tests.cluster import dns, egress, lifecycle
from tests.cluster.errors import ClusterError


def _zones(corefile: str) -> dict[str, str]:
    """The server blocks of a Corefile, by the first zone of each."""
    blocks = corefile.rstrip("\n").removesuffix("\n}").split("\n}\n")
    return {head.split(":", 1)[0]: body for head, body in (block.split(" {\n", 1) for block in blocks)}


def test_names_outside_do_not_exist_while_there_is_no_way_out() -> None:
    zones = _zones(dns.corefile(None))
    assert "NXDOMAIN" in zones["."]
    assert "forward" not in dns.corefile(None)


def test_names_outside_are_asked_of_the_relay_and_the_clusters_own_are_not() -> None:
    zones = _zones(dns.corefile(egress.RELAY))
    assert "forward . 10.89.0.1:10053" in zones["."]
    assert "NXDOMAIN" not in zones["."]
    assert zones["cluster.local"] == _zones(dns.corefile(None))["cluster.local"]


def test_only_packets_that_leave_the_clusters_networks_are_masqueraded() -> None:
    (rule,) = (line.strip() for line in egress.ruleset().splitlines() if "masquerade" in line)
    assert rule == (
        'oifname != "lkop0" ip saddr { 10.89.0.0/24, 10.244.0.0/16 } '
        "ip daddr != { 10.89.0.0/24, 10.244.0.0/16, 10.96.0.0/16 } masquerade"
    )


@pytest.mark.parametrize(("asked", "wanted"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_there_is_a_way_out_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, wanted: bool
) -> None:
    if asked is None:
        monkeypatch.delenv("EGRESS", raising=False)
    else:
        monkeypatch.setenv("EGRESS", asked)
    assert lifecycle.egress_from_environment() is wanted


def test_an_unclear_wish_for_a_way_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EGRESS", "yes")
    with pytest.raises(ClusterError, match="EGRESS must be 0 or 1"):
        lifecycle.egress_from_environment()
