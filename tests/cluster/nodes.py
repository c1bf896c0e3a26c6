"""Nodes: a container runtime, kubelet and kube-proxy each, in a network and a mount namespace of their own.

In its mount namespace a node finds its own folders where every Kubernetes node has them, and whatever is mounted for
its pods is mounted there only, so it is gone with the node.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import (
    addresses,
    certificates,
    cgroups,
    control_plane,
    images,
    kubeconfigs,
    layout,
    network,
    packages,
    processes,
    progress,
    tools,
    waiting,
)
from tests.cluster.commands import run, succeeds
from tests.cluster.errors import ClusterError
from tests.cluster.machine import Node, is_mounted, unmount
from tests.cluster.processes import Program

# Where programs insist on finding a folder, and no two nodes may share it.
_ON_DISK = (Path("/var/lib/kubelet"), Path("/var/lib/cni"), Path("/var/log"))
_VOLATILE = (Path("/run/containerd"),)
_POD_DNS = "# Pods that do not use the cluster's DNS resolve nothing.\n"


def ensure_runtime(node: Node) -> bool:
    """Have the node's namespaces and container runtime; tell whether it had to be started."""
    if cgroups.members(node.cgroup) and not _has_namespaces(node):
        # What runs is in namespaces that nobody can enter any more.
        stop(node)
    network.ensure_node(node)
    _ensure_mounts(node)
    for group in ("system", "pods"):
        cgroups.ensure(f"{node.cgroup}/{group}")
    containerd = _containerd(node)
    started = processes.ensure(containerd)

    def answers() -> bool:
        processes.require(containerd)
        return succeeds(*ctr(node, "version"))

    waiting.wait_for(f"container runtime of {node.name}", answers, 60, logs=[containerd.log])
    return started


def ensure_kubelet(node: Node) -> list[str]:
    """Have the node's kubelet and kube-proxy run; tell which had to be started."""
    certificates.ensure([certificates.kubelet_client(node.name), certificates.kubelet_server(node.name, node.address)])
    return [program.name for program in (_kubelet(node), _kube_proxy(node)) if processes.ensure(program)]


def start(node: Node) -> None:
    """Start a node that was stopped; it is Ready some seconds later."""
    with progress.step(f"start of {node.name}") as step:
        ensure_runtime(node)
        network.ensure_routes(known())
        ensure_kubelet(node)
        step.result = "started"


def stop(node: Node) -> None:
    """Take a node's power: nothing of it ends in an orderly way, its disk stays."""
    with progress.step(f"stop of {node.name}") as step:
        cgroups.remove(node.cgroup)
        for program in (_containerd(node), _kubelet(node), _kube_proxy(node)):
            processes.stop(program.name)
        unmount(node.mount_namespace)
        network.remove_node(node)
        run("rm", "-rf", node.run)
        step.result = "stopped"


def remove(node: Node) -> None:
    """Take a node away for good, with its disk and its object in the API."""
    stop(node)
    control_plane.kubectl("delete", "node", node.name, "--ignore-not-found")
    run("rm", "-rf", node.data)


def known() -> list[Node]:
    """The nodes that have a disk, running or not."""
    found = (path.name for path in layout.DATA.glob("node-*"))
    return sorted((Node.named(name) for name in found), key=lambda node: node.index)


def wait_until_ready(nodes: list[Node]) -> None:
    """Wait until Kubernetes calls all of these nodes ready."""
    logs = [log for node in nodes for log in (_kubelet(node).log, _containerd(node).log)]

    def ready() -> bool:
        for node in nodes:
            for program in (_containerd(node), _kubelet(node), _kube_proxy(node)):
                processes.require(program)
        try:
            return {node.name for node in nodes} <= ready_names()
        except ClusterError:
            return False  # one that is busy, or has just started, is asked again

    waiting.wait_for(f"nodes {', '.join(node.name for node in nodes)} ready", ready, 120, logs=logs)


def ready_names() -> set[str]:
    """The names of the nodes that Kubernetes calls ready."""
    listing = json.loads(control_plane.kubectl("get", "nodes", "-o", "json"))
    return {node["metadata"]["name"] for node in listing["items"] if is_ready(node)}


def is_ready(node: dict[str, Any]) -> bool:
    """Whether a Node object's Ready condition holds."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def ctr(node: Node, *arguments: str) -> tuple[str, ...]:
    """A command line for the node's container runtime, in the namespace that kubelet uses."""
    return (str(tools.path("ctr")), "--address", str(node.containerd_socket), "--namespace", "k8s.io", *arguments)


def _has_namespaces(node: Node) -> bool:
    return is_mounted(node.network_namespace) and is_mounted(node.mount_namespace)


def _own_folders(node: Node) -> dict[Path, Path]:
    """Where a node sees its folders, and where they lie."""
    on_disk = {place: node.data / place.name for place in _ON_DISK}
    return on_disk | {place: node.run / f"{place.name}-shims" for place in _VOLATILE}


def _ensure_mounts(node: Node) -> None:
    folders = _own_folders(node)
    for folder in (*folders, *folders.values()):
        folder.mkdir(parents=True, exist_ok=True)
    if is_mounted(node.mount_namespace):
        return
    node.mount_namespace.touch()
    # Without the other namespaces' pins, which would live as long as this node; and shared, as on any node.
    binds = "".join(f"mount --bind {folder} {place}\n" for place, folder in folders.items())
    script = f"umount --lazy {layout.RUN}\n{binds}mount --make-rshared /\n"
    run("unshare", f"--mount={node.mount_namespace}", "--propagation=private", "sh", "-ec", script)


def remove_empty_folders() -> None:
    """Remove the places that nodes see their folders at, as far as nobody else uses them."""
    for place in (*_ON_DISK, *_VOLATILE):
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()


def _program(node: Node, name: str, *argv: str, configuration: str = "") -> Program:
    enter = ("nsenter", f"--net={node.network_namespace}", f"--mount={node.mount_namespace}", "--")
    return Program(
        name=f"{node.name}-{name}",
        argv=(*enter, *argv),
        cgroup_procs=cgroups.procs_files(f"{node.cgroup}/system"),
        configuration=configuration,
    )


def _containerd(node: Node) -> Program:
    configuration = _write(node.data / "containerd.toml", _containerd_configuration(node))
    _write(node.data / "net.d" / "10-pods.conflist", json.dumps(_pod_network(node), indent=2))
    binary = tools.path("containerd")
    return _program(
        node,
        "containerd",
        # It looks for its shim on the PATH.
        *("env", f"PATH={binary.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        *(str(binary), "--config", str(node.data / "containerd.toml")),
        configuration=configuration,
    )


def _containerd_configuration(node: Node) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE, common in sandboxes, no process may lower its own.
    return f"""version = 3
root = "{node.data}/containerd"
state = "{node.run}/containerd"

[grpc]
address = "{node.containerd_socket}"

[ttrpc]
address = "{node.containerd_socket}.ttrpc"

[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "docker.io/{images.pin(images.PAUSE).reference}"

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
enable_unprivileged_ports = true
enable_unprivileged_icmp = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{packages.CNI_PLUGINS}"]
conf_dir = "{node.data}/net.d"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def _pod_network(node: Node) -> dict[str, Any]:
    """A bridge for the node's pods.

    Not a routed link for every pod: each would put the gateway's address on the node once more, and a program that
    listens on every address of a host, as the LiveKit server does, would find it in use.
    """
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods",
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": str(node.pod_network)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(node: Node) -> Program:
    kubeconfig = kubeconfigs.ensure(certificates.kubelet_client(node.name))
    configuration = _write(node.data / "kubelet.yaml", yaml.safe_dump(_kubelet_configuration(node)))
    return _program(
        node,
        "kubelet",
        str(tools.path("kubelet")),
        f"--config={node.data / 'kubelet.yaml'}",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        configuration=configuration,
    )


def _kubelet_configuration(node: Node) -> dict[str, Any]:
    serving = certificates.kubelet_server(node.name, node.address)
    _write(node.data / "resolv.conf", _POD_DNS)
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(node.address),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(certificates.CA)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "clusterDNS": [str(addresses.DNS_SERVICE)],
        "clusterDomain": addresses.CLUSTER_DOMAIN,
        "resolvConf": str(node.data / "resolv.conf"),
        "containerRuntimeEndpoint": f"unix://{node.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        # Its own, or two kubelets remove each other's pods' groups.
        "cgroupRoot": f"/{node.cgroup}/pods",
        "failCgroupV1": False,
        "failSwapOn": False,
        # The disk is the machine's own: its fill is no reason to evict a test's pods or to remove an image that
        # comes from no registry.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        # Secrets and ConfigMaps reach running pods within seconds, for tests of rotation.
        "syncFrequency": "10s",
    }


def _kube_proxy(node: Node) -> Program:
    return _program(
        node,
        "kube-proxy",
        str(tools.path("kube-proxy")),
        f"--kubeconfig={kubeconfigs.ensure(certificates.PROXY)}",
        f"--hostname-override={node.name}",
        f"--cluster-cidr={addresses.PODS}",
        "--proxy-mode=nftables",
        # The machine's limits are not this cluster's to set.
        "--conntrack-max-per-core=0",
    )


def _write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return text
