"""What tests of a pool's versions do first, and look at."""

from typing import Any

from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World

SCALING = {"minReplicas": 2, "maxReplicas": 10, "bufferSessions": 2, "scaleDownStabilizationSeconds": 0}


def pool(world: World) -> Manifest:
    return world.get("VoiceAgentPool", "front-desk")


def change(world: World, **spec: Any) -> None:
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": spec})


def tracks(world: World) -> dict[str, str]:
    """Return revision -> track, newest first."""
    return {version["revision"]: version["track"] for version in pool(world)["status"]["versions"]}


def pods_of(world: World, track: str) -> list[Manifest]:
    label = "livekit-operator.dev/track"
    return [pod for pod in world.agent_pods() if pod["metadata"]["labels"][label] == track]


async def rolled(world: World) -> None:
    for _ in range(6):
        world.run_pods()
        await world.settle()
        world.end_pods()
        await world.settle()


async def with_canary(world: World, **canary: Any) -> str:
    """Put a pool there whose second version is a canary; return its revision."""
    await world.with_server()
    await world.with_pool(autoscaling=SCALING, rollout={"canary": {"weight": 50, **canary}})
    world.clock.advance(60)
    change(world, sessionsPerPod=2)
    await rolled(world)
    return str(pool(world)["status"]["revision"])


async def failed_to_start(world: World) -> tuple[str, str]:
    """Put a pool there whose second version has failed; return the revisions of both."""
    await world.with_server()
    await world.with_pool(replicas=2, rollout={"progressDeadlineSeconds": 60})
    good = pool(world)["status"]["revision"]
    world.clock.advance(10)
    change(world, idleProcesses=7)
    await world.settle()
    world.clock.advance(61)
    await world.settle()
    return good, str(pool(world)["status"]["revision"])
