"""Links to a VoiceAgentPool, what it refers to, and what of it concerns those that refer to it."""

from collections.abc import Iterable
from typing import Any

from livekit_operator.conditions import find
from livekit_operator.constants import CONDITION_AGENTS_AVAILABLE
from livekit_operator.engine.cache import Key, Manifest
from livekit_operator.pools.context import Context
from livekit_operator.pools.decisions.agent_problems import PERSONAL_REASONS
from livekit_operator.reconciling.links import Link, ready_facts
from livekit_operator.servers.links import UNDECLARED_ROOM, as_pool, by_name, is_undeclared, server_of, to_server


def to_pool(pool: Key) -> Link:
    """Return the link of the MeetingRooms that name a pool."""
    return "pool", pool


def to_any_pool(namespace: str) -> Link:
    """Return the link of the MeetingRooms that any pool of their namespace may serve, because they name none."""
    return "any pool", namespace


def links(manifest: Manifest) -> Iterable[Link]:
    """Return what a pool refers to: its server, as one of its pools, and the rooms there that it serves by name."""
    if server := server_of(manifest):
        yield to_server(server)
        yield as_pool(server)
        if manifest["spec"].get("roomPrefix") is not None:
            yield by_name(server)


def public_facts(manifest: Manifest) -> Any:
    """Return what the rooms of a pool depend on."""
    status, spec = manifest.get("status") or {}, manifest.get("spec") or {}
    whom = spec.get("serverRef"), spec.get("allowedNamespaces")
    told = find(status.get("conditions"), CONDITION_AGENTS_AVAILABLE)
    # What concerns only those who wait is for the pool to tell them.
    quiet = told.get("status") == "True" or told.get("reason") in PERSONAL_REASONS
    available = None if quiet else (told.get("status"), told.get("reason"), told.get("message"))
    return ready_facts(manifest), available, status.get("agentName"), whom


def wake_rooms(context: Context, pool: Key) -> None:
    """Wake the MeetingRooms that a pool serves, or may serve because they name none."""
    context.wake_users(*to_rooms(pool))


def to_rooms(pool: Key) -> tuple[Link, Link]:
    """Return the links of the MeetingRooms that a pool serves, or may serve because they name none."""
    return to_pool(pool), to_any_pool(pool[0])


def wake_any_room(context: Context, room: Key) -> None:
    """Wake a room that a pool knows, whether a MeetingRoom declares it or not."""
    context.wake(UNDECLARED_ROOM if is_undeclared(room) else "MeetingRoom", room)
