"""What of a LiveKitServer concerns those that refer to it."""

from typing import Any

from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.reconciling.links import ready_facts
from livekit_operator.servers.context import Context


def public_facts(manifest: Manifest) -> Any:
    """Return what pools and rooms of a server depend on: the spec says whom it allows, and its limits what it takes."""
    status, metadata = manifest.get("status") or {}, manifest["metadata"]
    return ready_facts(manifest), manifest.get("spec"), status.get("externalUrl"), metadata.get("deletionTimestamp")


def wake_users(context: Context, server: Key) -> None:
    """Have whatever refers to a server looked at."""
    context.wake_users(server)
