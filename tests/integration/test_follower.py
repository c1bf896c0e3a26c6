"""A follower beside a leader at a real API server: it knows what there is and writes nothing, until it is to lead."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from livekit import api as livekit_api

from livekit_operator.clients.livekit import LiveKit
from livekit_operator.metrics import Metrics
from livekit_operator.process.runtime import Runtime
from livekit_operator.servers.credentials import credentials_of
from livekit_operator.servers.memory import Credentials
from livekit_operator.settings import Settings
from livekit_operator.views import ServerLoad
from livekit_operator.web.server import HttpServer
from tests.fakes import manifests
from tests.fakes.doors import FakeDoors
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.server_load import FakeServerLoads
from tests.fakes.waiting import eventually
from tests.fakes.worker import FakeWorker
from tests.harness.api import Api, operator_client
from tests.integration.conftest import create_namespace
from tests.integration.operated import SECONDS, Confined, Operated, operated
from tests.integration.own_cluster import own_cluster

TEAM = "team"
VOICE = (TEAM, "voice")


@dataclass
class Follower:
    """A second process, in this one: its caches and endpoints run."""

    runtime: Runtime
    kubernetes: Confined
    operated: Operated
    connected: list[tuple[str, str, str]] = field(default_factory=list)
    """To which LiveKit servers it connected, and with what: nobody is asked without."""

    @property
    def url(self) -> str:
        """Return where its endpoints are."""
        return f"http://127.0.0.1:{self.runtime.web.port}"

    def knows(self, wanted: Credentials) -> bool:
        """Return whether it has these keys and URLs of the server."""
        known = credentials_of(self.runtime.context, VOICE)
        return known is not None and (known.keys, known.accepted) == (wanted.keys, wanted.accepted)

    async def is_ready(self) -> bool:
        """Return whether its readiness probe is content."""
        async with aiohttp.request("GET", f"{self.url}/readyz") as answer:
            return answer.status == 200

    async def takes_webhooks(self) -> bool:
        """Return whether it takes a webhook that the server signs."""
        known = credentials_of(self.runtime.context, VOICE)
        assert known is not None
        body = json.dumps({"event": "participant_joined", "room": {"name": "first"}}).encode()
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        token = livekit_api.AccessToken(known.keys.api_key, known.keys.api_secret).with_sha256(digest).to_jwt()
        url, headers = f"{self.url}/webhooks/{'/'.join(VOICE)}", {"Authorization": token}
        async with aiohttp.request("POST", url, data=body, headers=headers) as answer:
            return answer.status == 200

    async def sees(self, room: str) -> None:
        """Wait until it knows a room."""
        rooms = self.runtime.context.resources["MeetingRoom"]
        await eventually(lambda: (TEAM, room) in rooms, f"the follower to see {room}", seconds=SECONDS)


@asynccontextmanager
async def following(api: Api, livekit: FakeLiveKit) -> AsyncIterator[Follower]:
    """Run a follower that sees one namespace."""
    metrics, worker, connected = Metrics(), FakeWorker(), list[tuple[str, str, str]]()
    kubernetes = await operator_client(api.configuration, metrics, None, Confined)
    assert isinstance(kubernetes, Confined)
    kubernetes.namespace = TEAM

    def connect(url: str, key: str, secret: str) -> LiveKit:
        connected.append((url, key, secret))
        return livekit.connect(url, key, secret)

    settings = Settings(agent_image="agent:1", server_poll_seconds=1.0)
    runtime = Runtime(kubernetes, worker, FakeServerLoads(ServerLoad(0, 0)), connect, settings, metrics)
    runtime.context.refuses = FakeDoors().refuses
    runtime.web = HttpServer(runtime, metrics, 0, "127.0.0.1")
    made = Operated(api, TEAM, kubernetes, runtime, livekit, worker, metrics)
    try:
        await runtime.web.start()
        await runtime.caches.start()
        yield Follower(runtime, kubernetes, made, connected)
        assert not runtime.failed
        assert not kubernetes.violations, "\n".join(kubernetes.violations)
    finally:
        await runtime.stop()
        await kubernetes.close()


async def test_a_follower_leads_when_it_is_to(tmp_path: Path) -> None:
    livekit = FakeLiveKit()
    async with own_cluster(tmp_path) as (_, api):
        await create_namespace(api, TEAM)
        async with following(api, livekit) as follower:
            runtime, knows = follower.runtime, follower.knows
            async with operated(api, TEAM, livekit) as leader:
                await leader.with_server()
                await leader.create(manifests.room("first", tokens=[{"identity": "alice"}]))
                await leader.reason("MeetingRoom", "first")
                theirs = credentials_of(leader.runtime.context, VOICE)
                assert theirs is not None
                await eventually(lambda: knows(theirs), "the server's keys and URLs", seconds=SECONDS)
                await follower.sees("first")
                assert await follower.is_ready()
                assert await follower.takes_webhooks()
            asked = len(livekit.requests)
            await follower.operated.create(manifests.room("while-nobody-leads"))
            await follower.sees("while-nobody-leads")
            assert follower.kubernetes.writes == []
            assert follower.connected == []
            assert len(livekit.requests) == asked

            await runtime.leader.start()
            await follower.operated.reason("MeetingRoom", "while-nobody-leads")
            await runtime.leader.stop()

            follower.kubernetes.writes.clear()
            follower.connected.clear()
            asked = len(livekit.requests)
            livekit.close_room("first")
            await follower.operated.create(manifests.room("again-without-a-leader"))
            await follower.sees("again-without-a-leader")
            assert await follower.is_ready()
            assert await follower.takes_webhooks()
            assert follower.kubernetes.writes == []
            assert follower.connected == []
            assert len(livekit.requests) == asked
            assert knows(theirs)

            await runtime.leader.start()
            await follower.operated.reason("MeetingRoom", "again-without-a-leader")
            await eventually(lambda: "first" in livekit.rooms, "the room that was lost meanwhile", seconds=SECONDS)
            await api.delete("MeetingRoom", TEAM, "first")
            await follower.operated.gone("MeetingRoom", "first")
