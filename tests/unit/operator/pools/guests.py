"""A pool of another namespace than its server's."""

from typing import Any

from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World

THERE = {"name": "voice", "namespace": NAMESPACE}


def allow(world: World, **lists: list[str]) -> None:
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": lists})


async def with_guests(world: World, **spec: Any) -> None:
    """Put a pool of another namespace there that serves."""
    await world.with_server(allowedPoolNamespaces=["guests"], **spec)
    world.kubernetes.put(manifests.providers_secret("guests"))
    world.kubernetes.put(manifests.pool(namespace="guests", serverRef=THERE, drainTimeoutSeconds=600))
    await world.settle()
    world.run_pods()
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk", "guests") == ("True", "Ready")
