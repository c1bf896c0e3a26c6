"""The resources the stories use: the quickstart's, as plain manifests to change at will."""

from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

SERVER, POOL, ROOM = "voice", "front-desk", "support-42"
QUICKSTART = Path("examples/quickstart.yaml")


def quickstart() -> tuple[Manifest, Manifest, Manifest]:
    """Return server, pool and room of the quickstart."""
    server, pool, room = yaml.safe_load_all(QUICKSTART.read_text())
    return server, pool, room


def room(name: str, *identities: str, pool: str | None = None) -> Manifest:
    """Return a room on the quickstart's server, with a token for each identity."""
    spec: Manifest = {"serverRef": {"name": SERVER}, "tokens": [{"identity": identity} for identity in identities]}
    if pool:
        spec["agents"] = [{"poolRef": {"name": pool}}]
    return resource("MeetingRoom", name, spec)


def resource(kind: str, name: str, spec: object) -> Manifest:
    """Return a resource of one of our kinds."""
    return {
        "apiVersion": "livekit-operator.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
