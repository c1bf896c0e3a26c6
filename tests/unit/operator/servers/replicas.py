"""What tests of several servers do first."""

from typing import Any

from livekit_operator.views import ServerLoad
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World

SHARED: dict[str, Any] = {"replicas": 2, "redis": {"address": "redis.example.com:6379"}}


async def started(world: World, **spec: Any) -> None:
    """Put a server there, let the cluster give it ports and addresses, and let its pods run."""
    world.kubernetes.put(manifests.server(**spec))
    await settled(world)


async def settled(world: World) -> None:
    """Let the cluster and the operator work until nothing changes."""
    for _ in range(8):
        await world.settle()
        world.give_node_ports()
        world.take_routes()
        for pod in world.server_pods(leaving=True):
            world.kubernetes.vanish("Pod", NAMESPACE, pod["metadata"]["name"])
        for pod in world.server_pods():
            world.run_server_pod(pod)
            world.loads.answers.setdefault(address(world, pod), ServerLoad(0, 0))
        await world.pass_check()
    await world.settle()


def address(world: World, pod: Manifest) -> str:
    return str(world.get("Pod", pod["metadata"]["name"])["status"]["podIP"])


def names(world: World) -> list[str]:
    return [pod["metadata"]["name"] for pod in world.server_pods()]


def status(world: World) -> Manifest:
    found = world.get("LiveKitServer", "voice")["status"]
    assert isinstance(found, dict)
    return found
