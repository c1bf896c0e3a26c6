"""A pool serves rooms that no resource declares, for how their names begin: the app only makes a token."""

import time

import pytest
from livekit import api

from tests.e2e import light_agents
from tests.e2e.conftest import Story
from tests.e2e.switchboard import access, meet, switchboard
from tests.harness.calls import Guest, Guests
from tests.harness.kubectl import Manifest, until
from tests.harness.processes import sigkill
from tests.harness.resources import POOL
from tests.harness.servers import Key


@pytest.mark.timeout(240)
async def test_a_room_is_served_for_its_name_and_by_another_agent_when_that_is_killed(story: Story) -> None:
    pool = light_agents.pool(story, roomPrefix="voice-agent-", replicas=2)
    await light_agents.serve(story, pool)
    assert "voice-agent-" in await story.condition("voiceagentpool", POOL, "RoomPrefixAccepted", "Accepted")
    url, key = await access(story)
    async with (
        switchboard(story) as board,
        Guests(Guest, [_token(url, key, room) for room in ("other-1", "voice-agent-1")], within=0.0) as guests,
    ):
        _, guest = guests.all
        joined = time.monotonic()
        await board.served("voice-agent-1")
        print(f"the agent was there {time.monotonic() - joined:.1f} s after the caller")
        agent = await meet(board, guest)
        assert agent.name == POOL

        async def told() -> Manifest:
            status = (await story.kubectl.get("voiceagentpool", POOL))["status"]
            lines: list[Manifest] = [line for line in status.get("sessions") or () if line.get("state") == "listening"]
            return lines[0] if lines else {}

        call = await until("the pool to tell what the call does", told, seconds=30)
        assert (call["room"], call["pod"]) == ("voice-agent-1", agent.pod)
        assert call["startTime"] <= call["lastActivityTime"]

        killed = time.monotonic()
        await sigkill(story.kubectl, await story.kubectl.get("pod", agent.pod))

        async def another() -> bool:
            found = await board.agents("voice-agent-1")
            return len(found) == 1 and found[0].identity != agent.identity and bool(found[0].state)

        await until("another agent, and no second one", another, seconds=60)
        print(f"another one {time.monotonic() - killed:.1f} s after the kill")
        assert not any(guest.disconnected for guest in guests.all)
        assert await board.agents("other-1") == []
        assert not [d for d in await board.client.agent_dispatch.list_dispatch("other-1") if d.agent_name == POOL]


def _token(url: str, key: Key, room: str) -> dict[str, str]:
    """Return what an app hands to somebody who may enter a room, in the form of a token Secret."""
    grants = api.VideoGrants(room_join=True, room=room)
    token = api.AccessToken(key.id, key.secret).with_identity("alice").with_grants(grants).to_jwt()
    return {"url": url, "token": token, "room": room, "identity": "alice"}
