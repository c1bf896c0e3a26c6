"""A server of the operator's HTTP endpoints, and what tests send there."""

import base64
import hashlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from livekit import api

from livekit_operator.process.runtime import Runtime
from livekit_operator.settings import Settings
from livekit_operator.web.server import HttpServer
from tests.fakes import manifests
from tests.fakes.manifests import API_KEY, API_SECRET, NAMESPACE
from tests.fakes.runtime import running
from tests.fakes.waiting import eventually
from tests.fakes.world import World

QUIET = Settings(agent_image="agent:1", server_poll_seconds=3600, pool_poll_seconds=3600)


@dataclass
class Door:
    """A running operator with one server and one room, seen from outside."""

    world: World
    runtime: Runtime
    session: aiohttp.ClientSession
    url: str

    async def send(
        self,
        event: dict[str, Any],
        *,
        key: str = API_KEY,
        secret: str = API_SECRET,
        signed: bytes | None = None,
        path: str = "team/voice",
        headers: dict[str, str] | None = None,
    ) -> int:
        """Send a webhook as livekit-server does; return the HTTP status."""
        body = json.dumps(event).encode()
        digest = base64.b64encode(hashlib.sha256(body if signed is None else signed).digest()).decode()
        token = api.AccessToken(key, secret).with_sha256(digest).to_jwt()
        return await self.send_raw(body, {"Authorization": token, **(headers or {})}, path)

    async def send_raw(self, body: bytes, headers: dict[str, str], path: str = "team/voice") -> int:
        """Send bytes."""
        all_headers = {"Content-Type": "application/webhook+json", **headers}
        url, data = f"{self.url}/webhooks/{path}", io.BytesIO(body)
        async with self.session.post(url, data=data, headers=all_headers) as response:
            return response.status

    def counted(self, result: str) -> float:
        """Return how many webhooks came to this result."""
        value = self.runtime.context.metrics.registry.get_sample_value
        return value("livekit_operator_webhooks_total", {"result": result}) or 0.0

    @property
    def sid(self) -> str:
        """Return the room's id on the server."""
        return self.world.livekit.rooms["support-42"].sid


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    world = World()
    kubernetes = world.kubernetes
    async with running(kubernetes, world.worker, world.livekit.connect, QUIET) as runtime:
        kubernetes.put(manifests.keys_secret())
        kubernetes.put(manifests.server(keysSecretRef={"name": "my-keys"}))
        await eventually(lambda: kubernetes.peek("Pod", NAMESPACE, "voice-livekit-0"))
        world.run_server()
        kubernetes.put(manifests.room())
        await eventually(lambda: "support-42" in world.livekit.rooms)
        http = HttpServer(runtime, runtime.context.metrics, 0, "127.0.0.1")
        await http.start()
        async with aiohttp.ClientSession() as session:
            yield Door(world, runtime, session, f"http://127.0.0.1:{http.port}")
        await http.stop()


def joined(room: str = "support-42") -> dict[str, Any]:
    return {"event": "participant_joined", "room": {"name": room}, "participant": {"identity": "alice"}}


def signature(body: bytes = b"") -> str:
    """Return what livekit-server would send as the authorization of a body."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return api.AccessToken(API_KEY, API_SECRET).with_sha256(digest).to_jwt()
