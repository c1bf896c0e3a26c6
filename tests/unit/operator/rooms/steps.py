"""What tests of a room do first."""

from typing import Any

from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World


async def opened(world: World, name: str = "support-42", **spec: Any) -> None:
    """Put a MeetingRoom there beside a server that is Ready."""
    if ("LiveKitServer", NAMESPACE, "voice") not in world.kubernetes.objects:
        await world.with_server()
    world.kubernetes.put(manifests.room(name, **spec))
    await world.settle()


async def look(world: World) -> None:
    """Let the server be listed, then the room be looked at: what a poll or a webhook brings about."""
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("MeetingRoom", "support-42")
