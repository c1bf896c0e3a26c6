"""What tests of tokens do first."""

from typing import Any

import jwt

from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.world import World

ROOM = "support-42"


async def opened(world: World, **spec: Any) -> None:
    """Put a MeetingRoom there beside a server that is Ready."""
    if ("LiveKitServer", NAMESPACE, "voice") not in world.kubernetes.objects:
        await world.with_server()
    world.kubernetes.put(manifests.room(**spec))
    await world.settle()


def claims(world: World, name: str, key: str = "token", namespace: str = NAMESPACE) -> dict[str, Any]:
    """Return what the token in a Secret says."""
    token = decoded(world.get("Secret", name, namespace))[key]
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found
