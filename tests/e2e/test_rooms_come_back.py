"""A server loses its 200 rooms, or its Redis does: all come back, and tokens from before still open them."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from tests.e2e import rooms
from tests.e2e.conftest import Story
from tests.e2e.servers import ROOM, meeting, node_ports, parties, server, server_pods
from tests.harness.api import Api
from tests.harness.kubectl import Manifest, until
from tests.harness.processes import sigkill
from tests.harness.redis import PASSWORD_KEY, run_plain
from tests.harness.resources import SERVER, room
from tests.harness.rooms import Rooms
from tests.harness.servers import key_in_use
from tests.media import Party, Talk

COUNT = 200
NAMES = rooms.named("room", COUNT)


@dataclass(frozen=True)
class Before:
    """What there was before the rooms were lost."""

    story: Story
    api: Api
    livekit: Rooms
    sids: Mapping[str, str]
    secrets: Mapping[str, Manifest]
    people: tuple[Party, Party]
    """With tokens of that time."""

    async def come_back(self) -> None:
        """Wait until each resource is ready and tells of the room that the server has; check what it was made of."""
        began, every = time.monotonic(), [*NAMES, ROOM]

        async def same(found: Mapping[str, Manifest]) -> bool:
            told = {name: manifest["status"]["sid"] for name, manifest in found.items()}
            try:
                return sorted(told.items()) == sorted(await self.livekit.listed())
            except aiohttp.ClientError:
                return False  # the server is on its way

        await rooms.all_ready(self.story, self.api, every, also=same)
        print(f"{len(every)} rooms were back after {time.monotonic() - began:.1f} s")
        new = dict(await self.livekit.listed())
        assert not {name for name, sid in new.items() if self.sids[name] == sid}, "they were never lost"
        await self.still_open()

    async def still_open(self) -> None:
        """Check that the tokens of before open the rooms, and that no Secret was written since."""
        versions = [
            {name: secret["metadata"]["resourceVersion"] for name, secret in secrets.items()}
            for secrets in (self.secrets, await rooms.secrets(self.story, self.api))
        ]
        assert versions[0] == versions[1], "a Secret was written anew"
        key = await key_in_use(self.story.kubectl)
        assert all(rooms.opens(self.secrets[f"{name}-alice"], name, key) for name in NAMES)
        async with Talk(*self.people) as talk:
            await talk.both_hear(20)


@asynccontextmanager
async def _with_rooms(story: Story, **spec: object) -> AsyncIterator[Before]:
    """Make a server with rooms by one `kubectl apply`, and give what there is."""
    await story.kubectl.apply(server(**node_ports(**spec)))
    await story.ready("livekitserver", SERVER)
    began = time.monotonic()
    await story.kubectl.apply(meeting(), *(room(name, "alice") for name in NAMES))
    async with rooms.administrator(story) as api:
        made = await rooms.all_ready(story, api, [*NAMES, ROOM])
        print(f"{len(made)} rooms were ready {time.monotonic() - began:.1f} s after they were applied")
        sids = {name: manifest["status"]["sid"] for name, manifest in made.items()}
        livekit, secrets = await story.rooms(), await rooms.secrets(story, api)
        assert dict(await livekit.listed()) == sids
        yield Before(story, api, livekit, sids, secrets, await parties(story))
        print(f"all gone after {await rooms.delete(story, api):.1f} s")


@pytest.mark.timeout(180)
async def test_a_server_dies_under_its_rooms(story: Story) -> None:
    async with _with_rooms(story) as before:
        (pod,) = await server_pods(story)
        await sigkill(story.kubectl, pod)
        await before.come_back()


@pytest.mark.timeout(180)
async def test_redis_forgets_them_and_then_the_server_dies(story: Story) -> None:
    """A server goes on with rooms that its Redis has forgotten, and no listing tells of them until somebody comes."""
    redis = await run_plain(story.kubectl)
    password = {"name": redis.password_secret, "key": PASSWORD_KEY}
    async with _with_rooms(story, redis={"address": redis.address, "passwordSecretRef": password}) as before:
        await redis.flush()
        assert await before.livekit.listed() == []

        async def asked_for() -> bool:
            return await redis.cli("HLEN", "room_node_map") == str(len(before.sids))

        await until("every room to be asked for", asked_for, seconds=30)
        assert dict(await before.livekit.made(*before.sids)) == before.sids
        await rooms.all_ready(story, before.api, list(before.sids))
        await before.still_open()
        assert (ROOM, before.sids[ROOM]) in await before.livekit.listed()

        await redis.flush()
        (pod,) = await server_pods(story)
        await sigkill(story.kubectl, pod)
        await before.come_back()
