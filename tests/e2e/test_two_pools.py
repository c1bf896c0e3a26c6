"""Two pools on one server: each serves the rooms that name it, and no other."""

import pytest

from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.switchboard import Agent, enter_new, meet, switchboard
from tests.harness.kubectl import until

SALES, SUPPORT = "sales", "support"
ROOMS = 3


@pytest.mark.timeout(240)
async def test_each_pool_serves_its_own_rooms_only(story: Story) -> None:
    one = light_agents.pool(story, SALES)
    # Names that differ from the resource's own, as the agent's code or a phone system may want them.
    other = light_agents.pool(story, SUPPORT, agentName="help/desk")
    names = {pool: [f"{pool}-{number}" for number in range(ROOMS)] for pool in (SALES, SUPPORT)}
    both = pools.room("both", SALES, dispatch="OnCreate")
    both["spec"]["agents"].append({"poolRef": {"name": SUPPORT}, "dispatch": "OnCreate"})
    rooms = [pools.room(name, pool, dispatch="OnCreate") for pool in names for name in names[pool]]
    await light_agents.serve(story, one, other, both, *rooms)
    async with switchboard(story) as board:
        for pool, agent_name in ((SALES, SALES), (SUPPORT, "help/desk")):
            found = await board.served(*names[pool])
            assert {agent.name for agent in found} == {agent_name}
            own = {pod["metadata"]["name"] for pod in await pools.pods(story, pool)}
            assert {agent.pod for agent in found} <= own
        # A room that names both gets one of each.

        async def served_by_both() -> list[Agent]:
            found = await board.agents("both")
            connected = [agent.name for agent in found if agent.state]
            return found if sorted(connected) == ["help/desk", SALES] and len(found) == 2 else []

        both_agents: list[Agent] = await until("an agent of each pool in one room", served_by_both)
        assert {board.most[name] for pool in names for name in names[pool]} == {1}
        assert board.most["both"] == 2

        # Without its pool a room gets nobody, whoever else is free.
        await pools.change(story, {"replicas": 0}, SALES)
        await pools.delete_rooms(story, ["both", *names[SALES]])
        for name in {agent.pod for agent in both_agents if agent.name == SALES}:
            await pools.gone(story, name)
        async with enter_new(story, "late", SALES) as guest:
            message = await story.condition("meetingroom", "late", "AgentsReady", "NoWorkerRegistered", status="False")
            assert SALES in message
            assert await board.agents("late") == []
            await pools.change(story, {"replicas": 1}, SALES)
            agent = await meet(board, guest)
            assert agent.name == SALES
            assert guest.most_agents <= 1
