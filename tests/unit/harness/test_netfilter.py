"""The packet filter's rules name exactly the packets that are meant."""

import re

import pytest

from tests.harness import netfilter


def rules(content: str) -> list[str]:
    return re.findall(r"(?:policy accept; |counter )([^;]*);", content)


def test_all_udp_of_some_addresses_is_dropped_both_ways() -> None:
    assert rules(netfilter.blocking(["10.89.0.11", "10.244.0.0/16"])) == [
        "ip daddr { 10.89.0.11, 10.244.0.0/16 } meta l4proto udp drop",
        "ip saddr { 10.89.0.11, 10.244.0.0/16 } meta l4proto udp drop",
    ]


def test_every_packet_is_counted_once_and_a_range_ends_before_its_stop() -> None:
    content = netfilter.counting(["10.89.0.11"], (range(50100, 50201), range(3478, 3479)))
    ports = "{ 50100-50200, 3478-3478 }"
    assert [rule for rule in rules(content) if "udp" in rule] == [
        f"ip daddr {{ 10.89.0.11 }} udp dport {ports} counter name inside",
        f"ip saddr {{ 10.89.0.11 }} udp sport {ports} counter name inside",
        f"ip daddr {{ 10.89.0.11 }} udp dport != {ports} counter name outside",
        f"ip saddr {{ 10.89.0.11 }} udp sport != {ports} counter name outside",
    ]


@pytest.mark.parametrize("ports", [(), (range(5, 5),), (range(1, 10, 2),)])
def test_what_is_no_range_is_refused(ports: tuple[range, ...]) -> None:
    with pytest.raises(ValueError, match="no ranges of ports"):
        netfilter.counting(["10.89.0.11"], ports)
