"""Mallory runs an image of her own as a LiveKit server, which does its worst; nobody else's rooms are slower for it."""

import time

import pytest

from tests.e2e import rooms, servers
from tests.e2e.conftest import Story
from tests.harness import install
from tests.harness.api import Api
from tests.harness.kubectl import is_ready, until
from tests.harness.operator import running_pod
from tests.harness.processes import life
from tests.harness.resources import SERVER, room
from tests.hostile_server.control import asked, begin

# Measures how fast rooms are made, and takes the cores from who speaks.
pytestmark = pytest.mark.alone

# Last those that let requests time out: after them the operator asks again only after a while.
MODES = (
    "rooms-redirect",
    "rooms-nonsense",
    "entries",
    "errors",
    "bomb",
    "rooms-endless",
    "endless",
    "rooms-hang",
    "hang",
)
TRAPS, TIMED = 30, 20
# Below this a figure says more of the machine than of the operator: two cores run the whole cluster and the story.
LEAST_SECONDS = 0.5
# Her own share: what she does to the node is Kubernetes' affair.
LIMITS = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "250m", "memory": "256Mi"}}


@pytest.mark.timeout(600)
async def test_rooms_of_others_are_made_as_fast_beside_an_image_that_does_its_worst(story: Story) -> None:
    image = install.find_images(story.platform.target).hostile
    assert image, "set HOSTILE_IMAGE"
    await story.kubectl.apply(servers.server(**servers.node_ports()))
    await story.ready("livekitserver", SERVER)
    before = await running_pod(story.platform.operator)
    async with rooms.administrator(story) as api, story.neighbour("mallory") as mallory:
        alone = await _seconds(story, api, "alone")
        spec = servers.node_ports(image=image, resources=LIMITS)
        await mallory.kubectl.apply(servers.server(**spec))
        (manifest,) = await mallory.ready("livekitserver", SERVER)
        control = manifest["status"]["externalUrl"].replace("ws://", "http://")
        figures = {}
        for mode in MODES:
            await begin(control, mode)
            if mode == MODES[0]:
                # Not before it misbehaves: rooms that find theirs taken ask again only after minutes.
                await mallory.kubectl.apply(*(room(f"trap-{number}") for number in range(TRAPS)))
            await asked(control, mode)
            figures[mode] = await _seconds(story, api, mode)
            print(f"{mode:15} p95 {figures[mode]:.2f} s, alone {alone:.2f} s")
        await rooms.delete(story, api)
        assert max(figures.values()) <= max(2 * alone, LEAST_SECONDS), figures
    after = await running_pod(story.platform.operator)
    assert life(after) == life(before), "it was too much"


async def _seconds(story: Story, api: Api, mode: str) -> float:
    """Return in how many seconds 95 of a hundred rooms of the story are ready, one after the other."""
    taken = []
    for number in range(TIMED):
        name, began = f"{mode}-{number}", time.monotonic()
        await rooms.make(story, api, [name])
        path = f"{rooms.PATH.format(story.kubectl.namespace)}/{name}"

        async def ready(path: str = path) -> bool:
            return is_ready((await api.request("GET", path)).accepted())

        await until(f"room {name} to be ready", ready, seconds=60, every=0.01)
        taken.append(time.monotonic() - began)
    return sorted(taken)[int(0.95 * TIMED) - 1]
