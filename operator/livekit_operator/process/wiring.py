"""The table of kinds: whose pass is which, and what of an object concerns itself and others."""

from typing import Any

from livekit_operator.conditions import find
from livekit_operator.constants import ANNOTATION_CLAIM, CONDITION_AGENTS_AVAILABLE
from livekit_operator.engine.cache import Manifest
from livekit_operator.pools.decisions.agent_problems import PERSONAL_REASONS
from livekit_operator.pools.reconcile import reconcile_pool
from livekit_operator.reconciling.links import UNDECLARED_ROOM
from livekit_operator.rooms.reconcile import reconcile_room
from livekit_operator.rooms.undeclared import reconcile_undeclared_room
from livekit_operator.servers.reconcile import reconcile_server

RECONCILERS = {
    "LiveKitServer": reconcile_server,
    "VoiceAgentPool": reconcile_pool,
    "MeetingRoom": reconcile_room,
    UNDECLARED_ROOM: reconcile_undeclared_room,
}


def own_facts(manifest: Manifest | None) -> Any:
    """Return what an object's own pass depends on: the status is its output and does not count."""
    if manifest is None:
        return None
    metadata = manifest["metadata"]
    # A claim comes from a pass and is none of its inputs.
    annotations = {name: text for name, text in (metadata.get("annotations") or {}).items() if name != ANNOTATION_CLAIM}
    # After the store was put back another spec may have the same generation.
    spec = metadata.get("generation"), manifest.get("spec")
    return metadata["uid"], spec, metadata.get("deletionTimestamp"), annotations


def public_facts(kind: str, manifest: Manifest | None) -> Any:
    """Return what others that refer to an object depend on."""
    if manifest is None:
        return None
    status = manifest.get("status") or {}
    ready = [(c["status"], c["reason"]) for c in status.get("conditions") or () if c["type"] == "Ready"]
    if kind == "LiveKitServer":
        metadata = manifest["metadata"]
        # The spec says whom it allows, and its limits and presets what it takes.
        return ready, manifest.get("spec"), status.get("externalUrl"), metadata.get("deletionTimestamp")
    if kind == "VoiceAgentPool":
        spec = manifest.get("spec") or {}
        whom = spec.get("serverRef"), spec.get("allowedNamespaces")
        served = find(status.get("conditions"), CONDITION_AGENTS_AVAILABLE)
        # What concerns only those who wait is for the pool to tell them.
        quiet = served.get("status") == "True" or served.get("reason") in PERSONAL_REASONS
        available = None if quiet else (served.get("status"), served.get("reason"), served.get("message"))
        return ready, available, status.get("agentName"), whom
    return ()
