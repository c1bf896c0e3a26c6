"""Redis forgets a room, its caller and its agent while they talk: server, agent and operator go on with the call.

When the room is deleted then, its caller is sent away.
"""

import aiohttp
import pytest

from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.servers import node_ports, server
from tests.e2e.switchboard import enter, meet, switchboard
from tests.harness.kubectl import until
from tests.harness.operator import count, running_pod
from tests.harness.redis import PASSWORD_KEY, run_plain
from tests.harness.resources import POOL

ROOM = "call"
LOOKS = 4
PASSES = 'livekit_operator_reconcile_total{kind="MeetingRoom",result="ok"}'


@pytest.mark.timeout(180)
async def test_a_call_keeps_its_agent(story: Story) -> None:
    if not story.platform.target.local:
        pytest.skip("only this machine reaches pods of the cluster")
    redis = await run_plain(story.kubectl)
    password = {"name": redis.password_secret, "key": PASSWORD_KEY}
    served_by = server(**node_ports(redis={"address": redis.address, "passwordSecretRef": password}))
    await story.kubectl.apply(served_by, light_agents.code_map(), light_agents.pool(story), pools.room(ROOM))
    await story.ready("voiceagentpool", POOL)
    await story.ready("meetingroom", ROOM)
    async with (
        enter(story, ROOM) as alice,
        switchboard(story) as board,
        aiohttp.ClientSession() as session,
    ):
        agent = await meet(board, alice)
        pod = await running_pod(story.platform.operator)
        before = await count(session, pod, PASSES)
        await redis.flush()
        assert await board.agents(ROOM) == [], "Redis still knows who is in the room"

        async def looked_at() -> bool:
            return await count(session, pod, PASSES) >= before + LOOKS

        await until(f"the operator to look at the room {LOOKS} times", looked_at, seconds=90)
        # All but the last look were seconds ago: an agent that one of them had sent away would be gone.
        assert (alice.agents, alice.all_agents) == ({agent.identity}, [agent.identity])
        assert alice.disconnected == ""
        await story.ready("meetingroom", ROOM)
        # The server knows the room, and DeleteRoom alone does not find it.
        await redis.flush()
        await pools.delete_rooms(story, [ROOM])

        async def left() -> bool:
            return alice.disconnected == "ROOM_DELETED"

        await until("the caller to be sent away with the room", left, seconds=10)
        events = await story.kubectl.find("events")
        assert not [event for event in events if event["reason"] == "RoomNotDeleted"]
