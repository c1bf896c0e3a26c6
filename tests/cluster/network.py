"""The cluster's network: a bridge that joins the machine and its nodes, and routes to every node's pods.

    root namespace                          node-1                        node-2
    lkop0 10.89.0.1/24 -- lkop-n1 ========= eth0 10.89.0.11
                       -- lkop-n2 ======================================= eth0 10.89.0.12
    10.244.1.0/24 via 10.89.0.11            10.244.2.0/24 via 10.89.0.12  10.244.1.0/24 via 10.89.0.11
    10.96.0.0/16  via 10.89.0.11

No address is translated on the way: a client on the machine sees a node's own address, and a pod's. Service addresses
are reached through node-1's kube-proxy.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from tests.cluster import addresses, layout
from tests.cluster.commands import run
from tests.cluster.machine import Node, is_mounted, mounts_below, unmount

BRIDGE = "lkop0"
_PREFIX = "lkop"


def ensure_bridge() -> None:
    """Create the bridge with the machine's address on it."""
    # Namespaces are pinned by mounts below here; private, so that a node's mount namespace can be one of them.
    layout.RUN.mkdir(parents=True, exist_ok=True)
    if not is_mounted(layout.RUN):
        run("mount", "--bind", layout.RUN, layout.RUN)
        run("mount", "--make-private", layout.RUN)
    if BRIDGE not in _links():
        run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "replace", f"{addresses.HOST}/{addresses.MACHINES.prefixlen}", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def ensure_node(node: Node) -> None:
    """Create the node's network namespace and its link to the bridge."""
    if not is_mounted(node.network_namespace):
        node.network_namespace.parent.mkdir(parents=True, exist_ok=True)
        node.network_namespace.touch()
        run("unshare", f"--net={node.network_namespace}", "true")
    host_end = f"{_PREFIX}-n{node.index}"
    if host_end not in _links():
        peer = ("peer", "name", "eth0", "netns", str(node.network_namespace))
        run("ip", "link", "add", host_end, "type", "veth", *peer)
    run("ip", "link", "set", host_end, "master", BRIDGE, "up")
    _inside(node, "ip", "link", "set", "lo", "up")
    _inside(node, "ip", "address", "replace", f"{node.address}/{addresses.MACHINES.prefixlen}", "dev", "eth0")
    _inside(node, "ip", "link", "set", "eth0", "up")
    _inside(node, "ip", "route", "replace", "default", "via", str(addresses.HOST))
    _inside(node, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")


def ensure_routes(nodes: Iterable[Node]) -> None:
    """Route every node's pods through their node, on the machine and in the other nodes."""
    nodes = list(nodes)
    for node in nodes:
        route = ("ip", "route", "replace", str(node.pod_network), "via", str(node.address))
        run(*route)
        for other in nodes:
            if other != node:
                _inside(other, *route)
    if nodes:
        run("ip", "route", "replace", str(addresses.SERVICES), "via", str(nodes[0].address))


def remove_node(node: Node) -> None:
    """Remove the node's namespace; its links go with it."""
    _delete_link(f"{_PREFIX}-n{node.index}")
    unmount(node.network_namespace)


def remove() -> None:
    """Remove every link and namespace of the cluster, by their names, whatever is left of them."""
    for link in _links():
        if link == BRIDGE or link.startswith(f"{_PREFIX}-n"):
            _delete_link(link)
    for mount in mounts_below(layout.RUN):
        unmount(mount)


def _delete_link(name: str) -> None:
    if name in _links():
        run("ip", "link", "delete", name)


def _links() -> list[str]:
    return [link["ifname"] for link in json.loads(run("ip", "-json", "link", "show"))]


def _inside(node: Node, *argv: str | Path) -> None:
    # Not `ip netns exec`: it mounts /sys anew.
    run("nsenter", f"--net={node.network_namespace}", "--", *argv)
