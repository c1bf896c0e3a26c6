"""1,000 rooms are deleted while their server is away, and when it is gone: none stays, and all within a stated time."""

import pytest

from tests.e2e import rooms
from tests.e2e.conftest import Story
from tests.e2e.servers import node_ports, server, server_pods
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import SERVER

COUNT, LATER = 700, 300
PATIENCE_SECONDS = 60  # docs/rooms.md, Deleting
SECONDS_FOR_ALL = 90  # of them to be let go one after the other
LABEL = "livekit-operator.dev/story"


@pytest.mark.timeout(420)
async def test_rooms_go_without_their_server(story: Story) -> None:
    names, later = rooms.named("room", COUNT), rooms.named("later", LATER)
    label = f"{LABEL}={story.kubectl.namespace}"
    await story.kubectl("label", "node", "node-1", "--overwrite", label)
    try:
        placed = {"podTemplate": {"nodeSelector": {LABEL: story.kubectl.namespace}}}
        await story.kubectl.apply(server(**node_ports(**placed)))
        await story.ready("livekitserver", SERVER)
        async with rooms.administrator(story) as api:
            await rooms.make(story, api, [*names, *later])
            await rooms.all_ready(story, api, [*names, *later])
            (pod,) = await server_pods(story)
            # No node takes the pod that is to follow this one.
            await story.kubectl("label", "node", "node-1", f"{LABEL}-")
            await story.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
            await until("the server to be without a place", lambda: _waits(story, pod))

            seconds = await rooms.delete(story, api, names, seconds=PATIENCE_SECONDS + SECONDS_FOR_ALL)
            print(f"{COUNT} rooms were gone {seconds:.1f} s after they were deleted, their server away")
            assert (await rooms.rooms(story, api)).keys() == set(later)
            events = await story.kubectl.find("events")
            told = {e["involvedObject"]["name"] for e in events if e["reason"] == "RoomNotDeleted"}
            assert told == set(names)

            await story.kubectl("delete", "livekitserver", SERVER, "--wait", "--timeout=30s")
            seconds = await rooms.delete(story, api, later, seconds=SECONDS_FOR_ALL)
            print(f"{LATER} rooms were gone {seconds:.1f} s after they were deleted, their server gone")
    finally:
        await story.kubectl("label", "node", "node-1", f"{LABEL}-")


async def _waits(story: Story, former: Manifest) -> bool:
    pods = await server_pods(story)
    return [p["status"]["phase"] for p in pods if p["metadata"]["uid"] != former["metadata"]["uid"]] == ["Pending"]
