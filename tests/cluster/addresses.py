"""The cluster's addresses, all computed from four constants."""

from ipaddress import IPv4Address, IPv4Network

MACHINES = IPv4Network("10.89.0.0/24")
PODS = IPv4Network("10.244.0.0/16")
SERVICES = IPv4Network("10.96.0.0/16")
CLUSTER_DOMAIN = "cluster.local"

HOST: IPv4Address = MACHINES[1]
API_SERVER_PORT = 6443
# Not etcd's usual port: a machine may have an etcd of its own.
ETCD_CLIENT_PORT = 12379
ETCD_PEER_PORT = 12380
KUBERNETES_SERVICE: IPv4Address = SERVICES[1]
DNS_SERVICE: IPv4Address = SERVICES[10]

MAX_NODES = 100


def api_server_url() -> str:
    """The URL every client uses, pods' in-cluster configuration aside."""
    return f"https://{HOST}:{API_SERVER_PORT}"


def node_address(index: int) -> IPv4Address:
    """The address of the node with this number, counted from 1."""
    if not 1 <= index <= MAX_NODES:
        raise ValueError(f"nodes are numbered 1 to {MAX_NODES}, not {index}")
    return MACHINES[10 + index]


def pod_network(index: int) -> IPv4Network:
    """The share of the pod network that belongs to the node with this number."""
    node_address(index)
    return list(PODS.subnets(new_prefix=24))[index]
