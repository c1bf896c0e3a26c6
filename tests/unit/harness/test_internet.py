"""The NAT of the stories translates a node, and its pods, to its one public address."""

from tests.cluster.machine import Node
from tests.harness.internet import ruleset


def test_each_node_has_one_public_address() -> None:
    rules = ruleset([Node(1), Node(2)], {"node-1": "203.0.113.11", "node-2": "203.0.113.12"})
    assert "elements = { 203.0.113.11 : 10.89.0.11, 203.0.113.12 : 10.89.0.12 }" in rules
    assert (
        "elements = { 10.89.0.11 : 203.0.113.11, 10.244.1.0/24 : 203.0.113.11, "
        "10.89.0.12 : 203.0.113.12, 10.244.2.0/24 : 203.0.113.12 }"
    ) in rules
