"""Bringing built images to the nodes, with only those layers that a node lacks."""

import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.cluster import nodes, oci_layout
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError
from tests.cluster.images import Pinned
from tests.cluster.machine import Node


def ensure(targets: Iterable[Node], wanted: Iterable[Pinned]) -> list[str]:
    """Have these images on these nodes; tell what had to be imported where."""
    wanted = list(wanted)
    with ThreadPoolExecutor() as pool:
        imported = pool.map(lambda node: _ensure(node, wanted), targets)
    return [name for names in imported for name in names]


def _ensure(node: Node, wanted: Iterable[Pinned]) -> list[str]:
    present = dict(parse_images(run(*nodes.ctr(node, "images", "ls"))))
    imported = []
    for pinned in wanted:
        # What containerd makes of a reference without a registry.
        reference = f"docker.io/{pinned.reference}"
        if present.get(reference) != oci_layout.manifest_digest(pinned.tag):
            _import(node, pinned.tag, reference)
            imported.append(f"{pinned.image.name} on {node.name}")
    return imported


def parse_images(listing: str) -> Iterable[tuple[str, str]]:
    """The references and digests in a listing of `ctr images ls`."""
    for line in listing.splitlines()[1:]:
        reference, _, digest, *_ = line.split()
        yield reference, digest


def _import(node: Node, tag: str, reference: str) -> None:
    blobs = set(run(*nodes.ctr(node, "content", "ls", "--quiet")).split())
    # The manifest must come with every archive, for it is what the archive is about.
    blobs.discard(oci_layout.manifest_digest(tag) or "")
    importing = subprocess.Popen(
        nodes.ctr(node, "images", "import", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert importing.stdin
    assert importing.stdout
    try:
        oci_layout.write_archive(tag, reference, blobs, importing.stdin)
        importing.stdin.close()
    except BrokenPipeError:
        pass  # It has failed, and says why.
    said = importing.stdout.read().decode(errors="replace")
    if importing.wait():
        raise ClusterError(f"import of {reference} on {node.name} failed:\n{said}")
