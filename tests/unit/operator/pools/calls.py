"""What tests of a pool's calls do first, and look at."""

from typing import Any

from tests.fakes import manifests
from tests.fakes.manifests import Manifest
from tests.fakes.world import World

BUSY = "livekit-operator.dev/busy"
ZERO = {"minReplicas": 0, "maxReplicas": 3, "bufferSessions": 2, "scaleDownStabilizationSeconds": 30}


def pool_status(world: World) -> Manifest:
    status: Manifest = world.get("VoiceAgentPool", "front-desk")["status"]
    return status


async def with_room(world: World, name: str = "support-42", **pool: Any) -> None:
    await world.with_server()
    await world.with_pool(**pool)
    await opened(world, name)


async def opened(world: World, name: str) -> None:
    world.kubernetes.put(manifests.room(name, agents=[{"poolRef": {"name": "front-desk"}}]))
    await world.settle()


async def look(world: World, room: str = "support-42") -> None:
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("MeetingRoom", room)


async def serve(world: World, room: str = "support-42", job: str = "AJ_1") -> None:
    """Let the pool's only pod take the call that was asked for."""
    world.livekit.take(room, job)
    world.say(world.agent_pods()[0], jobs={job: room})
    await world.reconcile("VoiceAgentPool", "front-desk")
    await look(world, room)
