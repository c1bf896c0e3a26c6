"""A room of another namespace: only where the server allows it, under a name of its own, and no longer than that."""

import json

import pytest
from livekit import api

from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.rooms import SECRETS
from tests.e2e.switchboard import Switchboard, enter, meet, switchboard
from tests.harness.calls import Guest
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import POOL, SERVER

ROOM, NEIGHBOUR = "lobby", "other"


@pytest.mark.timeout(180)
async def test_another_namespace_has_rooms_on_a_server_while_that_allows_it(story: Story) -> None:
    pool = light_agents.pool(story)
    pool["spec"]["allowedNamespaces"] = [f"{story.kubectl.namespace}-{NEIGHBOUR}"]
    await light_agents.serve(story, pool, pools.room(ROOM))
    async with story.neighbour(NEIGHBOUR) as other, switchboard(story) as board:
        namespace = other.kubectl.namespace
        name = f"{namespace}/{ROOM}"
        await other.kubectl.apply(_room_on(story))
        message = await other.reason("meetingroom", ROOM, "ServerNotAllowed")
        assert namespace in message
        assert "spec.allowedNamespaces" in message
        assert await other.kubectl.find("secrets", SECRETS) == []
        assert await _names(board) == [ROOM]

        await _allow(story, namespace)
        await other.ready("meetingroom", ROOM)
        assert await _names(board) == sorted([ROOM, name])
        # Both have an alice in a lobby, and these have nothing to do with each other.
        async with enter(story, ROOM) as own, enter(other, ROOM) as guest:
            assert (own.room, guest.room) == (ROOM, name)
            pods = {str(pod["metadata"]["name"]) for pod in await pools.pods(story)}
            for each in (own, guest):
                agent = await meet(board, each)
                assert agent.name == POOL
                assert agent.pod in pods

            await _allow(story)
            await other.reason("meetingroom", ROOM, "ServerNotAllowed")
            await until("the Secret to go", lambda: _has_no_secrets(other), seconds=20)
            # Its room goes with it all the same.
            await pools.delete_rooms(other, [ROOM])
            await until("the guest to be put out", lambda: _is_out(guest), seconds=10)
            assert await _names(board) == [ROOM]
            assert own.disconnected == ""


def _room_on(story: Story) -> Manifest:
    """Return a room on the story's server, which the story's pool serves."""
    manifest = pools.room(ROOM)
    spec, namespace = manifest["spec"], story.kubectl.namespace
    spec["serverRef"]["namespace"] = spec["agents"][0]["poolRef"]["namespace"] = namespace
    return manifest


async def _allow(story: Story, *namespaces: str) -> None:
    patch = json.dumps({"spec": {"allowedNamespaces": namespaces}})
    await story.kubectl("patch", "livekitserver", SERVER, "--type", "merge", "--patch", patch)


async def _names(board: Switchboard) -> list[str]:
    """Return the names of the rooms that the server has."""
    return sorted(room.name for room in (await board.client.room.list_rooms(api.ListRoomsRequest())).rooms)


async def _has_no_secrets(story: Story) -> bool:
    return await story.kubectl.find("secrets", SECRETS) == []


async def _is_out(guest: Guest) -> bool:
    return guest.disconnected == "ROOM_DELETED"
