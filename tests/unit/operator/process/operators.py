"""A running operator beside a cluster in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from livekit_operator.process.runtime import Runtime
from livekit_operator.settings import Settings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.runtime import running
from tests.fakes.waiting import eventually
from tests.fakes.world import World

# The polls are far away: what happens in these tests is brought by watches.
QUIET = Settings(agent_image="agent:1", server_poll_seconds=3600, pool_poll_seconds=3600)


@dataclass
class Operator:
    """A running Runtime; its World is only the cluster, whose own reconcilers stand still."""

    world: World
    runtime: Runtime

    async def ready(self, kind: str, name: str, reason: str = "Ready") -> None:
        def is_so() -> bool:
            manifest = self.world.kubernetes.peek(kind, NAMESPACE, name)
            conditions = (manifest or {}).get("status", {}).get("conditions") or []
            return any(c["type"] == "Ready" and c["reason"] == reason for c in conditions)

        await eventually(is_so, f"{kind} {name} {reason}")

    async def there(self, kind: str, name: str) -> None:
        await eventually(lambda: self.world.kubernetes.peek(kind, NAMESPACE, name), f"{kind} {name}")

    async def with_server(self) -> None:
        self.world.kubernetes.put(manifests.server())
        await self.there("Pod", "voice-livekit-0")
        self.world.run_server()
        await self.ready("LiveKitServer", "voice")


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    world = World()
    async with running(world.kubernetes, world.worker, world.livekit.connect, QUIET) as runtime:
        runtime.context.now = world.clock
        yield Operator(world, runtime)
