"""What is deleted goes, and takes everything of it along."""

import pytest

from tests.caller.call import Call
from tests.e2e.conftest import Story
from tests.harness.kubectl import CommandError, until
from tests.harness.resources import POOL, ROOM, SERVER, quickstart, room

# The quickstart's server has the host ports that everybody's has.
pytestmark = pytest.mark.xdist_group("quickstart")

CHILDREN = "pods,secrets,configmaps,services,serviceaccounts,poddisruptionbudgets,networkpolicies"
OURS = "app.kubernetes.io/managed-by=livekit-operator"


@pytest.mark.timeout(240)
async def test_deleting_a_room_disconnects_its_caller(story: Story) -> None:
    server, _, _ = quickstart()
    await story.kubectl.apply(server, room("lobby", "alice"))
    await story.ready("meetingroom", "lobby")
    rooms = await story.rooms()
    async with Call(await story.kubectl.secret("lobby-alice")) as call:
        await story.kubectl("delete", "meetingroom", "lobby", "--timeout", "30s")
        assert "ROOM_DELETED" in await call.disconnected(15)
    assert await rooms.names() == []

    async def secret_gone() -> bool:
        return "lobby-alice" not in [m["metadata"]["name"] for m in await story.kubectl.find("secrets")]

    await until("the token Secret to go", secret_gone, seconds=30)


@pytest.mark.timeout(300)
async def test_deleting_server_and_pool_leaves_nothing_behind(story: Story) -> None:
    server, pool, meeting = quickstart()
    await story.kubectl.apply(server, pool, meeting)
    await story.ready("meetingroom", ROOM)
    assert await story.kubectl.find(CHILDREN, OURS)
    await story.kubectl("delete", "livekitserver", SERVER)
    await story.kubectl("delete", "voiceagentpool", POOL)
    message = await story.reason("meetingroom", ROOM, "ServerNotFound")
    assert SERVER in message
    await story.kubectl("delete", "meetingroom", ROOM, "--timeout", "30s")

    async def nothing_left() -> bool:
        return await story.kubectl.find(CHILDREN, OURS) == []

    await until("every child to be gone", nothing_left, seconds=120)
    with pytest.raises(CommandError):
        await story.kubectl.get("service", f"{SERVER}-livekit")
