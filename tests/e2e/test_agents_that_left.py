"""Agents that leave on purpose, fail again and again, or work before they join: each room gets what it should."""

import json

import pytest

from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.switchboard import enter, switchboard
from tests.harness.kubectl import Manifest, until

LEAVES, FAILS, WORKS, DIALS = "leaves", "fails", "works", "dials"
# LiveKit waits 3 s for a worker to take a job, and lists who took it seconds later.
SESSION = """if ctx.job.metadata == "works":
        await asyncio.sleep(8)
    await ctx.connect()
    await ctx.room.local_participant.set_attributes({"lk.agent.state": "listening"})
    if ctx.job.metadata == "leaves":
        await asyncio.sleep(2)
        ctx.shutdown("it has handed over")
    if ctx.job.metadata == "fails":
        raise LookupError("no such tool")
    if ctx.job.metadata == "dials":
        await ctx.delete_room()
        ctx.shutdown("nobody answers")"""


def room(name: str, **agent: str) -> Manifest:
    """Return a room whose agent is told by its job what to do."""
    manifest = pools.room(name)
    manifest["spec"]["agents"][0] |= {"metadata": name, **agent}
    return manifest


async def agent_of(story: Story, name: str) -> Manifest:
    """Return what a room says of its agent, empty while it says nothing."""
    status = (await story.kubectl.get("meetingroom", name)).get("status") or {}
    return next(iter(status.get("agents") or ()), {})


async def state(story: Story, name: str, *states: str, seconds: float = 60) -> Manifest:
    """Wait until a room's agent is in one of these states, and return what is said of it."""

    async def look() -> Manifest:
        agent = await agent_of(story, name)
        return agent if agent.get("state") in states else {}

    found: Manifest = await until(f"the agent of {name} to be {' or '.join(states)}", look, seconds=seconds)
    return found


@pytest.mark.timeout(240)
async def test_each_room_gets_another_agent_when_it_should_and_no_other(story: Story) -> None:
    code = light_agents.code_map(agent=light_agents.code(first="import asyncio", session=SESSION))
    rooms = [room(LEAVES), room(FAILS), room(WORKS), room(DIALS, dispatch="OnCreate")]
    await light_agents.serve(story, light_agents.pool(story), *rooms, code=code)
    async with (
        enter(story, LEAVES) as left,
        enter(story, FAILS) as failed,
        enter(story, WORKS) as worked,
        switchboard(story) as board,
    ):
        assert (await state(story, LEAVES, "Finished"))["leftAt"]
        await state(story, DIALS, "Finished")
        await state(story, WORKS, "Joined")
        message = await story.condition(
            "meetingroom", FAILS, "AgentsReady", "AgentFailing", status="False", words=["4 times", "no such tool"]
        )
        assert "pod front-desk-" in message
        # By then several times as much time has passed as an agent once needed to come back.
        assert len(left.all_agents) == 1
        assert (await agent_of(story, LEAVES))["state"] == "Finished"
        assert (await agent_of(story, DIALS))["state"] == "Finished"
        assert 4 <= len(failed.all_agents) <= 6
        assert worked.all_agents == [agent.identity for agent in await board.agents(WORKS)]
        assert left.disconnected == failed.disconnected == worked.disconnected == ""
        again = {"metadata": {"annotations": {"livekit-operator.dev/call-agents": "now"}}}
        await story.kubectl("patch", "meetingroom", LEAVES, "--type", "merge", "--patch", json.dumps(again))

        async def called_again() -> bool:
            return len(left.all_agents) == 2

        await until("another agent in the room that asks for one", called_again, seconds=30)
        await state(story, LEAVES, "Finished")
    sessions = [version["sessions"] for version in await _versions(story)]
    # Two calls of the first room, one each of the others, and those that failed.
    assert sum(sessions) == 2 + 1 + 1 + len(failed.all_agents)


async def _versions(story: Story) -> list[Manifest]:
    found = await story.kubectl.find("voiceagentpool")
    return [version for pool in found for version in pool["status"]["versions"]]
