"""Webhooks that no key of the server has signed: refused, counted, and of no harm to what else the operator does."""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle

import aiohttp
import pytest
from livekit import api

from tests.e2e.conftest import Story
from tests.e2e.servers import ROOM, meeting, node_ports, parties, server
from tests.harness.kubectl import until
from tests.harness.operator import address, count, running_pod
from tests.harness.processes import life
from tests.harness.resources import SERVER, room
from tests.harness.servers import Key, key_in_use
from tests.media import Talk

# Disturbs others: the operator is flooded.
pytestmark = pytest.mark.alone

AT_LEAST, AT_ONCE = 2000, 20
REFUSED, ACCEPTED = (f'livekit_operator_webhooks_total{{result="{result}"}}' for result in ("refused", "accepted"))
ROOM_SECONDS = 10


@pytest.mark.timeout(180)
async def test_a_flood_of_forged_webhooks_does_no_harm(story: Story) -> None:
    if not story.platform.target.local:
        pytest.skip("only this machine reaches pods of the cluster")
    await story.kubectl.apply(server(**node_ports()), meeting())
    people = await parties(story)
    pod, key = await running_pod(story.platform.operator), await key_in_use(story.kubectl)
    url = f"{address(pod)}/webhooks/{story.kubectl.namespace}/{SERVER}"
    async with aiohttp.ClientSession() as session:
        before = await count(session, pod, REFUSED), await count(session, pod, ACCEPTED)
        async with _flood(session, url, key) as answers:
            await until("the flood to come", lambda: _some(answers), seconds=10, every=0.01)
            began = time.monotonic()
            await story.kubectl.apply(room("meanwhile", "alice"))
            await story.ready("meetingroom", "meanwhile", seconds=ROOM_SECONDS)
            took = time.monotonic() - began
            # The server's own webhooks come through, and are heard.
            async with Talk(*people) as talk:
                await talk.both_hear()
                await until("who is in the room", lambda: _counted(story), seconds=10)
        print(f"{dict(answers)} within {time.monotonic() - began:.1f} s; a room was ready after {took:.2f} s")
        assert answers.keys() == {401}
        assert await count(session, pod, REFUSED) - before[0] == answers[401] >= AT_LEAST
        assert await count(session, pod, ACCEPTED) > before[1]
        async with session.get(f"{address(pod)}/readyz") as answer:
            assert answer.status == 200
    after = await running_pod(story.platform.operator)
    assert life(after) == life(pod)
    assert ROOM in await (await story.rooms()).names(), "a forged end of a room was believed"


@asynccontextmanager
async def _flood(session: aiohttp.ClientSession, url: str, key: Key) -> AsyncIterator[Counter[int]]:
    """Send requests, some at once, for as long as the block lasts; give how many were answered with which status."""
    answers: Counter[int] = Counter()
    requests, over = cycle(_forged(key)), asyncio.Event()

    async def send() -> None:
        while not over.is_set() or answers.total() < AT_LEAST:
            body, headers = next(requests)
            async with session.post(url, data=body, headers=headers) as answer:
                answers[answer.status] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(send())
        try:
            yield answers
        finally:
            over.set()


def _forged(key: Key) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Yield events that say that a room has ended, each wrong in another way."""
    event = {"event": "room_finished", "room": {"name": ROOM, "sid": "RM_forged"}, "id": "EV_forged"}
    body, other = json.dumps(event).encode(), secrets.token_urlsafe(36)
    yield body, {}
    yield body, {"Authorization": "Bearer nonsense"}
    yield body, {"Authorization": _signed(body, key.id, other)}
    yield body, {"Authorization": _signed(body, "APIother", other)}
    yield body, {"Authorization": _signed(b"another body", key.id, key.secret)}
    yield b"\x00\xff no JSON", {"Authorization": _signed(body, key.id, key.secret)}


def _signed(body: bytes, key: str, secret: str) -> str:
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return api.AccessToken(key, secret).with_sha256(digest).to_jwt()


async def _some(answers: Counter[int]) -> bool:
    return answers.total() >= AT_ONCE


async def _counted(story: Story) -> bool:
    status = (await story.kubectl.get("meetingroom", ROOM))["status"]
    return bool(status["participantIdentities"] == ["alice", "bob"])
