"""What a VoiceAgentPool refers to, and what of it concerns those that refer to it."""

from collections.abc import Iterable
from typing import Any

from livekit_operator.conditions import find
from livekit_operator.constants import CONDITION_AGENTS_AVAILABLE
from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.pools.context import Context
from livekit_operator.pools.decisions.agent_problems import PERSONAL_REASONS
from livekit_operator.reconciling.links import Link, ready_facts, server_of


def links(manifest: Manifest) -> Iterable[Link]:
    """Return what a pool refers to: its server, as one of its pools, and the rooms there that it serves by name."""
    if server := server_of(manifest):
        yield "server", server
        yield "pools of", server
        if manifest["spec"].get("roomPrefix"):
            yield "prefix", server


def public_facts(manifest: Manifest) -> Any:
    """Return what the rooms of a pool depend on."""
    status, spec = manifest.get("status") or {}, manifest.get("spec") or {}
    whom = spec.get("serverRef"), spec.get("allowedNamespaces")
    served = find(status.get("conditions"), CONDITION_AGENTS_AVAILABLE)
    # What concerns only those who wait is for the pool to tell them.
    quiet = served.get("status") == "True" or served.get("reason") in PERSONAL_REASONS
    available = None if quiet else (served.get("status"), served.get("reason"), served.get("message"))
    return ready_facts(manifest), available, status.get("agentName"), whom


def wake_rooms(context: Context, pool: Key) -> None:
    """Have the MeetingRooms looked at that a pool serves."""
    context.wake_rooms_of_pool(pool)
