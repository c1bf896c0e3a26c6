"""Every node gets an address and a share of the pod network by its number."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from tests.cluster import addresses
from tests.cluster.machine import Node


@pytest.mark.parametrize(
    ("index", "address", "pods"),
    [
        (1, "10.89.0.11", "10.244.1.0/24"),
        (2, "10.89.0.12", "10.244.2.0/24"),
        (100, "10.89.0.110", "10.244.100.0/24"),
    ],
)
def test_a_nodes_addresses_follow_from_its_number(index: int, address: str, pods: str) -> None:
    assert addresses.node_address(index) == IPv4Address(address)
    assert addresses.pod_network(index) == IPv4Network(pods)


@pytest.mark.parametrize("index", [0, -1, 101])
def test_there_is_no_node_beyond_the_range(index: int) -> None:
    with pytest.raises(ValueError, match="numbered 1 to 100"):
        addresses.node_address(index)


def test_the_networks_do_not_overlap() -> None:
    networks = [addresses.MACHINES, addresses.PODS, addresses.SERVICES]
    assert not any(a.overlaps(b) for a in networks for b in networks if a is not b)


def test_a_node_is_found_again_by_its_name() -> None:
    assert Node.named(Node(7).name) == Node(7)
