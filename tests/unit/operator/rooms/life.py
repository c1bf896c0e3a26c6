"""What tests of a room from its making to its end do first."""

from typing import Any

from livekit_operator.views import RoomSettings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World

ROOM = "support-42"


async def opened(world: World, name: str = ROOM, **spec: Any) -> None:
    """Put a MeetingRoom there beside a server that is Ready."""
    if ("LiveKitServer", NAMESPACE, "voice") not in world.kubernetes.objects:
        await world.with_server()
    world.kubernetes.put(manifests.room(name, **spec))
    await world.settle()


async def look(world: World, name: str = ROOM) -> float | None:
    """Let the server be listed, then the room be looked at."""
    await world.reconcile("LiveKitServer", "voice")
    return await world.reconcile("MeetingRoom", name)


def change(world: World, **spec: Any) -> None:
    """Let the user change the spec."""
    world.kubernetes.edit("MeetingRoom", NAMESPACE, ROOM, {"spec": spec})


def settings(world: World) -> RoomSettings:
    """Return what the room was made with."""
    return world.livekit.rooms[ROOM].settings


def sid(world: World) -> Any:
    """Return the id of the room that the status tells."""
    return world.get("MeetingRoom", ROOM)["status"]["sid"]
