"""The server's own word on which agents are in which rooms, and people who enter those."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import aiohttp
from livekit import api

from tests.e2e.conftest import Story
from tests.e2e.pools import room
from tests.harness.calls import Guest, Guests
from tests.harness.kubectl import CommandError, until
from tests.harness.resources import POOL, SERVER
from tests.harness.servers import Key

# LiveKit waits three seconds for a worker to take a job. Where both are so busy that the answer gets lost, the agent
# comes without being on any list, and so does the one asked for in its place, until that is seen.
DOUBLED_SECONDS = 5.0


@dataclass(frozen=True)
class Agent:
    """An agent in a room, in its own words; what it does not say is empty, as `state` is while it connects."""

    identity: str
    name: str
    state: str
    pod: str
    version: str

    @classmethod
    def of(cls, participant: api.ParticipantInfo) -> Self:
        """Read a participant's attributes."""
        said = participant.attributes
        words = ("lk.agent.name", "lk.agent.state", "pod", "version")
        return cls(participant.identity, *(said.get(word, "") for word in words))


def _is_served(agents: Sequence[Agent]) -> bool:
    return len(agents) == 1 and bool(agents[0].state)


class Switchboard:
    """The server's own word on which agents are in which rooms.

    `most` is the largest number ever seen in a room, `doubled` for how many seconds more than one was seen there.
    """

    def __init__(self, client: api.LiveKitAPI) -> None:
        self.client = client
        self.most: dict[str, int] = defaultdict(int)
        self.doubled: dict[str, float] = {}
        self._doubled_since: dict[str, float] = {}

    async def agents(self, room: str) -> list[Agent]:
        """Return the agents in a room."""
        asked = time.monotonic()
        try:
            answer = await self.client.room.list_participants(api.ListParticipantsRequest(room=room))
        except api.ServerError as error:
            if error.status == 404:
                self._doubled_since.pop(room, None)
                return []
            if error.status < 500:
                raise
            raise CommandError(f"the server does not answer: {error}") from error
        except aiohttp.ClientError as error:
            raise CommandError(f"the server does not answer: {error}") from error
        found = [Agent.of(p) for p in answer.participants if p.kind == api.ParticipantInfo.Kind.AGENT]
        self.most[room] = max(self.most[room], len(found))
        if len(found) > 1:
            since = self._doubled_since.setdefault(room, asked)
            self.doubled[room] = max(self.doubled.get(room, 0.0), time.monotonic() - since)
        else:
            self._doubled_since.pop(room, None)
        return found

    async def served(self, *rooms: str, seconds: float = 60) -> list[Agent]:
        """Wait until each of these rooms has one agent, which is connected, and return these."""

        async def look() -> list[Agent]:
            found = await asyncio.gather(*(self.agents(room) for room in rooms))
            odd = [(room, agents) for room, agents in zip(rooms, found, strict=True) if not _is_served(agents)]
            if odd:
                raise CommandError(f"{odd}")
            return [agents[0] for agents in found]

        agents: list[Agent] = await until(f"agents in {', '.join(rooms)}", look, seconds=seconds)
        return agents


@asynccontextmanager
async def switchboard(story: Story) -> AsyncIterator[Switchboard]:
    """Connect to the story's server."""
    url, key = await access(story)
    async with api.LiveKitAPI(url, key.id, key.secret) as client:
        yield Switchboard(client)


async def access(story: Story) -> tuple[str, Key]:
    """Return the URL of the story's server, and its key."""
    (manifest,) = await story.ready("livekitserver", SERVER)
    keys = await story.kubectl.secret(manifest["status"]["keysSecretName"])
    return manifest["status"]["externalUrl"], Key(keys["apiKey"], keys["apiSecret"])


async def only_agent(story: Story, room: str, identity: str, *, seconds: float = 60) -> None:
    """Wait until a room has one agent and no other."""
    async with switchboard(story) as board:

        async def alone() -> bool:
            return [agent.identity for agent in await board.agents(room)] == [identity]

        await until(f"{identity} to be the only agent of {room}", alone, seconds=seconds)


@asynccontextmanager
async def enter(story: Story, room: str) -> AsyncIterator[Guest]:
    """Enter a MeetingRoom as alice, when her token is there."""

    async def look() -> dict[str, str]:
        return await story.kubectl.secret(f"{room}-alice")

    secret: dict[str, str] = await until(f"alice's token for {room}", look)
    async with Guests(Guest, [secret], within=0.0) as guests:
        yield guests.all[0]


async def meet(board: Switchboard, guest: Guest, *, seconds: float = 60) -> Agent:
    """Wait until a guest sees the room's only agent, and return it.

    LiveKit tells people only after some seconds of somebody who publishes nothing.
    """
    (agent,) = await board.served(guest.room, seconds=seconds)

    async def look() -> bool:
        return guest.agents == {agent.identity}

    await until(f"{agent.identity} to be seen in {guest.room}", look, seconds=20)
    return agent


@asynccontextmanager
async def enter_new(story: Story, name: str, pool: str = POOL) -> AsyncIterator[Guest]:
    """Make a MeetingRoom and enter it."""
    await story.kubectl.apply(room(name, pool))
    async with enter(story, name) as entered:
        yield entered
