"""The cluster's network: a switch that joins the machine and its nodes, and routes to every node's pods.

    root namespace           switch               node-1                        node-2
    lkop0 10.89.0.1/24 ===== host
                             n1 ================= eth0 10.89.0.11
                             n2 =============================================== eth0 10.89.0.12
    10.244.1.0/24 via 10.89.0.11                  10.244.2.0/24 via 10.89.0.12  10.244.1.0/24 via 10.89.0.11
    10.244.2.0/24 via 10.89.0.12
    10.96.0.0/16  via 10.89.0.11

The switch is a bridge in a namespace of its own, where the machine's packet filter, such as Docker's, has no say. No
address is translated on the way: a client on the machine sees a node's own address, and a pod's. Service addresses are
reached from the machine through node-1's kube-proxy.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from tests.cluster import addresses, layout
from tests.cluster.commands import run
from tests.cluster.machine import Node, is_mounted, mounts_below, unmount

HOST_LINK = "lkop0"
SWITCH = layout.RUN / "switch"
BRIDGE = "bridge"
_BRIDGED_PACKETS_PASS_FILTER = "/proc/sys/net/bridge/bridge-nf-call-iptables"


def ensure_switch() -> None:
    """Create the switch, and the machine's link to it."""
    # Namespaces are pinned by mounts below here; private, so that a node's mount namespace can be one of them.
    layout.RUN.mkdir(parents=True, exist_ok=True)
    if not is_mounted(layout.RUN):
        run("mount", "--bind", layout.RUN, layout.RUN)
        run("mount", "--make-private", layout.RUN)
    _ensure_namespace(SWITCH)
    if BRIDGE not in _links(SWITCH):
        _inside(SWITCH, "ip", "link", "add", BRIDGE, "type", "bridge")
    _inside(SWITCH, "ip", "link", "set", BRIDGE, "up")
    if HOST_LINK not in _links():
        run("ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", "host", "netns", SWITCH)
    _inside(SWITCH, "ip", "link", "set", "host", "master", BRIDGE, "up")
    run("ip", "address", "replace", f"{addresses.HOST}/{addresses.MACHINES.prefixlen}", "dev", HOST_LINK)
    run("ip", "link", "set", HOST_LINK, "up")


def ensure_node(node: Node) -> None:
    """Create the node's network namespace and its link to the switch."""
    namespace = node.network_namespace
    _ensure_namespace(namespace)
    port = f"n{node.index}"
    if port not in _links(SWITCH):
        peer = ("peer", "name", "eth0", "netns", str(namespace))
        _inside(SWITCH, "ip", "link", "add", port, "type", "veth", *peer)
    _inside(SWITCH, "ip", "link", "set", port, "master", BRIDGE, "up")
    _inside(namespace, "ip", "link", "set", "lo", "up")
    _inside(namespace, "ip", "address", "replace", f"{node.address}/{addresses.MACHINES.prefixlen}", "dev", "eth0")
    _inside(namespace, "ip", "link", "set", "eth0", "up")
    _inside(namespace, "ip", "route", "replace", "default", "via", str(addresses.HOST))
    if not Path(_BRIDGED_PACKETS_PASS_FILTER).exists():
        run("modprobe", "br_netfilter")
    # The second: replies of a service's pod to a pod beside it are bridged, and must be translated back all the same.
    for setting in ("/proc/sys/net/ipv4/ip_forward", _BRIDGED_PACKETS_PASS_FILTER):
        _inside(namespace, "sh", "-c", f"echo 1 > {setting}")


def ensure_routes(nodes: Iterable[Node]) -> None:
    """Route every node's pods through their node, on the machine and in the other nodes."""
    nodes = [node for node in nodes if is_mounted(node.network_namespace)]
    for node in nodes:
        route = ("ip", "route", "replace", str(node.pod_network), "via", str(node.address))
        run(*route)
        for other in nodes:
            if other != node:
                _inside(other.network_namespace, *route)
    if nodes:
        run("ip", "route", "replace", str(addresses.SERVICES), "via", str(nodes[0].address))


def remove_node(node: Node) -> None:
    """Remove the node's namespace; its links go with it."""
    if is_mounted(SWITCH) and f"n{node.index}" in _links(SWITCH):
        _inside(SWITCH, "ip", "link", "delete", f"n{node.index}")
    unmount(node.network_namespace)


def remove() -> None:
    """Remove every link and namespace of the cluster, whatever is left of them."""
    if HOST_LINK in _links():
        run("ip", "link", "delete", HOST_LINK)
    for mount in mounts_below(layout.RUN):
        unmount(mount)


def _ensure_namespace(pin: Path) -> None:
    if is_mounted(pin):
        return
    pin.parent.mkdir(parents=True, exist_ok=True)
    pin.touch()
    run("unshare", f"--net={pin}", "true")


def _links(namespace: Path | None = None) -> list[str]:
    listing = ("ip", "-json", "link", "show")
    found = _inside(namespace, *listing) if namespace else run(*listing)
    return [link["ifname"] for link in json.loads(found)]


def _inside(namespace: Path, *argv: str | Path) -> str:
    # Not `ip netns exec`: it mounts /sys anew.
    return run("nsenter", f"--net={namespace}", "--", *argv)
