"""The operator dies ten times while 2,000 rooms come, then the API server does: each exists once, with one Secret."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from tests.cluster import control_plane
from tests.e2e import rooms
from tests.e2e.conftest import Story
from tests.e2e.servers import node_ports, server
from tests.harness.kubectl import until
from tests.harness.operator import kill, restarts, running_pod
from tests.harness.resources import SERVER
from tests.harness.rooms import Rooms
from tests.harness.servers import key_in_use
from tests.integration.api import Api

# Disturbs others: the operator and the API server end.
pytestmark = pytest.mark.alone

COUNT, KILLS = 2000, 10
MORE = 300


@pytest.mark.timeout(900)
async def test_no_room_is_lost_or_doubled(story: Story) -> None:
    await story.kubectl.apply(server(**node_ports()))
    await story.ready("livekitserver", SERVER)
    livekit, operator = await story.rooms(), story.platform.operator
    async with rooms.administrator(story) as api:
        began, names = time.monotonic(), rooms.named("room", COUNT)
        async with asyncio.TaskGroup() as group:
            group.create_task(rooms.make(story, api, names))
            for number in range(KILLS):
                there = COUNT * (2 * number + 1) // (2 * KILLS)
                await until(f"{there} rooms on the server", _at_least(livekit, there), seconds=60, every=0.05)
                print(f"killed at {time.monotonic() - began:.1f} s with {len(await livekit.listed())} rooms")
                await kill(operator)
        await rooms.all_ready(story, api, names)
        print(f"{COUNT} rooms ready after {time.monotonic() - began:.1f} s")
        await _assert_each_once(story, api, livekit, names)

        if story.platform.target.local:
            before, began, more = await running_pod(operator), time.monotonic(), rooms.named("more", MORE)
            async with asyncio.TaskGroup() as group:
                group.create_task(rooms.make(story, api, more))
                await until("some more rooms", _at_least(livekit, COUNT + MORE // 10), seconds=60, every=0.02)
                await asyncio.to_thread(control_plane.restart_api_server)
            await rooms.all_ready(story, api, more)
            print(f"{MORE} more ready after {time.monotonic() - began:.1f} s, the API server's restart included")
            await _assert_each_once(story, api, livekit, [*more, *names])
            after = await running_pod(operator)
            assert (after["metadata"]["uid"], restarts(after)) == (before["metadata"]["uid"], restarts(before))

        print(f"all gone after {await rooms.delete(story, api, seconds=240):.1f} s")
        assert await livekit.names() == []


def _at_least(livekit: Rooms, count: int) -> Callable[[], Awaitable[bool]]:
    async def counted() -> bool:
        return len(await livekit.listed()) >= count

    return counted


async def _assert_each_once(story: Story, api: Api, livekit: Rooms, names: Sequence[str]) -> None:
    """Fail when a room or a Secret is missing, doubled, or not the one that its resource tells of."""
    listed = await livekit.listed()
    assert sorted(name for name, _ in listed) == sorted(names)
    told = {name: manifest["status"]["sid"] for name, manifest in (await rooms.rooms(story, api)).items()}
    assert told == dict(listed)
    secrets = await rooms.secrets(story, api)
    assert secrets.keys() == {f"{name}-alice" for name in names}
    key = await key_in_use(story.kubectl)
    wrong = [name for name in names if not rooms.opens(secrets[f"{name}-alice"], name, key)]
    assert wrong == []
