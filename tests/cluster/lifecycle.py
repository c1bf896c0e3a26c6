"""The cluster as a whole: up, down, its images and its status."""

import json
import os

from tests.cluster import (
    addresses,
    base_image,
    cgroups,
    control_plane,
    dns,
    egress,
    image_import,
    images,
    layout,
    locking,
    machine,
    network,
    nodes,
    packages,
    processes,
    progress,
    tools,
)
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError
from tests.cluster.machine import Node

_LOCK = "cluster"
# Taken before the cluster's, and held until what was built is on the nodes: another run may build other sources.
_IMAGES_LOCK = "images"


def up(node_count: int, *, with_egress: bool = False) -> None:
    """Bring the cluster to this many nodes, from nothing or from whatever state it is in.

    Its pods reach nothing outside of it, unless `with_egress` opens a way out.
    """
    if not 1 <= node_count <= addresses.MAX_NODES:
        raise ClusterError(f"NODES must be 1 to {addresses.MAX_NODES}, not {node_count}")
    packages.ensure()
    tools.ensure_all()
    _ensure_own_images()
    with locking.exclusive(_LOCK):
        _clear_leftovers()
        wanted = [Node(index) for index in range(1, node_count + 1)]
        network.ensure_switch()
        control_plane.start()
        _start_runtimes(wanted)
        control_plane.wait_until_ready()
        _remove_surplus(wanted)
        _start_kubelets(wanted)
        control_plane.require()
        if with_egress:
            egress.ensure()
        dns.ensure(node_count, egress.RELAY if with_egress else None)
        if not with_egress:
            egress.remove()
    progress.say(f"the cluster is up: export KUBECONFIG={layout.KUBECONFIG}")


def _ensure_own_images() -> None:
    own = [images.pin(image) for image in images.OF_THE_CLUSTER]
    if not images.are_built(own):
        with locking.exclusive(_IMAGES_LOCK):
            images.ensure_built(own)


def _start_runtimes(wanted: list[Node]) -> None:
    with progress.step("container runtimes") as step:
        started = [node.name for node in wanted if nodes.ensure_runtime(node)]
        network.ensure_routes(wanted)
        imported = image_import.ensure(wanted, map(images.pin, images.OF_THE_CLUSTER))
        step.result = f"started on {', '.join(started)}" if started else "running already"
        if imported:
            step.result += f"; imported {', '.join(imported)}"


def _start_kubelets(wanted: list[Node]) -> None:
    with progress.step("nodes") as step:
        started = [name for node in wanted for name in nodes.ensure_kubelet(node)]
        nodes.wait_until_ready(wanted)
        step.result = f"{', '.join(node.name for node in wanted)} ready" + ("" if started else ", as before")


def _remove_surplus(wanted: list[Node]) -> None:
    for node in nodes.known():
        if node not in wanted:
            nodes.remove(node)


def down() -> None:
    """Take away every trace of the cluster, whatever state it is in; caches and logs stay."""
    with locking.exclusive(_LOCK), progress.step("cluster") as step:
        _remove_everything()
        step.result = "gone"


def _clear_leftovers() -> None:
    """Take away what cannot be healed.

    That is a cluster of another checkout, one of which no process is left, and one with a process that has no record:
    it would hold the port of the one to be started.
    """
    owner = layout.OWNER.read_text().strip() if layout.OWNER.exists() else None
    ours = owner == str(layout.REPOSITORY)
    if ours and processes.alive() and not control_plane.has_strangers():
        return
    with progress.step("leftovers") as step:
        step.result = f"removed the cluster of {owner}" if owner and not ours else "none"
        if ours:
            step.result = "removed what a killed run left"
        _remove_everything()
    layout.DATA.mkdir(parents=True, exist_ok=True)
    layout.OWNER.write_text(str(layout.REPOSITORY))


def _remove_everything() -> None:
    # Processes first: what lives in our cgroups, and what has a record, should it have missed its group.
    progress.doing("ending processes")
    cgroups.remove(cgroups.ROOT)
    for name in processes.recorded():
        processes.stop(name, grace=0)
    progress.doing("removing namespaces and files")
    egress.remove()
    network.remove()
    for folder in (layout.RUN, layout.DATA):
        for mount in machine.mounts_below(folder):
            machine.unmount(mount)
        run("rm", "-rf", folder)
    base_image.clean()
    nodes.remove_empty_folders()
    for file in (layout.KUBECONFIG, layout.IMAGES):
        file.unlink(missing_ok=True)


def load_images() -> None:
    """Build what has changed and have all images on all nodes."""
    if not nodes.known():
        raise ClusterError("the cluster is not up: `python -m tests.cluster up` first")
    packages.ensure()
    with locking.exclusive(_IMAGES_LOCK):
        wanted = [images.pin(image) for image in images.ALL]
        built = images.ensure_built(wanted)
        with locking.exclusive(_LOCK), progress.step("images") as step:
            step.doing = "importing"
            imported = image_import.ensure(nodes.known(), wanted)
            references = {pinned.image.name: pinned.reference for pinned in wanted}
            layout.IMAGES.write_text(json.dumps(references, indent=2) + "\n")
            step.result = f"built {', '.join(built) or 'none'}; imported {', '.join(imported) or 'none'}"


def status() -> bool:
    """Show what runs; tell whether the cluster is up as a whole."""
    names = processes.recorded()
    for name in names:
        print(f"{'running' if processes.is_alive(name) else 'ENDED':8} {name}")
    if not names or not layout.KUBECONFIG.exists() or not control_plane.is_ready():
        print("the cluster is not up")
        return False
    ready = nodes.ready_names()
    for node in nodes.known():
        print(f"{'ready' if node.name in ready else 'LOST':8} {node.name} {node.address} pods {node.pod_network}")
    print(f"export KUBECONFIG={layout.KUBECONFIG}")
    return all(map(processes.is_alive, names)) and {node.name for node in nodes.known()} <= ready


def node_count_from_environment() -> int:
    """How many nodes NODES asks for."""
    asked = os.environ.get("NODES") or "2"
    if not asked.isdecimal():
        raise ClusterError(f"NODES must be a number, not {asked!r}")
    return int(asked)


def egress_from_environment() -> bool:
    """Whether EGRESS asks for a way out of the cluster."""
    asked = os.environ.get("EGRESS") or "0"
    if asked not in ("0", "1"):
        raise ClusterError(f"EGRESS must be 0 or 1, not {asked!r}")
    return asked == "1"
