"""Calls as they were planned: somebody enters a room of their own, has an agent, stays for a while and leaves."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from livekit import rtc

from tests.caller.call import CallError
from tests.caller.waiting import Changes, NotSeenError
from tests.e2e import rooms
from tests.e2e.conftest import Story
from tests.harness.api import Api
from tests.harness.calls import Guest
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import POOL, room
from tests.harness.servers import SERVERS
from tests.soak.losses import Losses
from tests.soak.plan import Call

# Who calls while a node is away waits for all that has to start again.
AGENT_SECONDS = 300.0
AGAIN_SECONDS = 150.0


class Caller(Guest):
    """A guest who knows which pods their agents came from."""

    def __init__(self, secret: Mapping[str, str], changed: Callable[[], None]) -> None:
        super().__init__(secret, changed)
        self.pods: set[str] = set()
        """Of all agents that ever came."""

    @property
    def address(self) -> str:
        """The host by which they reach the server."""
        return urlsplit(self._secret.url).hostname or ""

    @property
    def is_cut(self) -> bool:
        """Whether they were put out, or their first agent is not there any more."""
        return bool(self.disconnected) or bool(self.all_agents and self.all_agents[0] not in self.agents)

    def _came(self, participant: rtc.RemoteParticipant) -> None:
        # The light agents say it of themselves.
        if pod := participant.attributes.get("pod"):
            self.pods.add(pod)
        super()._came(participant)


@dataclass
class Record:
    """What became of a call; words are empty where there is nothing to say."""

    name: str
    waited: float = 0.0
    """Seconds until an agent was there."""
    cut: str = ""
    """How it was cut."""
    cause: str = ""
    """Why: which fault killed what it was on. A call that was cut for no cause should not have been."""
    failed: str = ""
    """Why there was none, or why it had no agent again."""


@dataclass
class Calls:
    """Makes calls on a story's server, and keeps what became of them."""

    story: Story
    api: Api
    losses: Losses
    records: list[Record] = field(default_factory=list)

    async def make(self, calls: tuple[Call, ...]) -> None:
        """Make all of these calls, each at its time."""
        began = time.monotonic()

        async def at_its_time(call: Call) -> None:
            # Nobody waits for anything before they call.
            await asyncio.sleep(max(0.0, began + call.begins - time.monotonic()))
            await self.call(f"call-{call.number:04}", call.lasts)

        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(at_its_time(call))

    async def call(self, name: str, lasts: float, *, seconds: float = AGENT_SECONDS) -> Record:
        """Make a room, call in it and delete it; an agent has to be there within so many seconds."""
        record = Record(name)
        self.records.append(record)
        await rooms.make_each(self.story, self.api, [room(name, "alice", pool=POOL)])
        try:
            await self._talk(record, lasts, seconds)
        finally:
            await rooms.let_go(self.story, self.api, name)
        return record

    async def _talk(self, record: Record, lasts: float, seconds: float) -> None:
        began, changes = time.monotonic(), Changes()
        caller: Caller | None = None
        try:
            while caller is None or not caller.agents:
                if caller is None or caller.disconnected:
                    caller = await self._join(record.name, changes.notify, began + seconds)
                await self._first_agent(caller, changes, began + seconds)
            record.waited = time.monotonic() - began
            await self._stay(record, caller, changes, lasts)
        except TimeoutError as error:
            record.failed = record.failed or str(error)
        finally:
            if caller is not None:
                await caller.leave()

    async def _join(self, name: str, changed: Callable[[], None], deadline: float) -> Caller:
        """Enter a room as soon as its token is there and lets somebody in; raises TimeoutError."""

        async def join() -> Caller | None:
            caller = Caller(await self.story.kubectl.secret(f"{name}-alice"), changed)
            try:
                # Without a time-out of ours: LiveKit's client ends the process where one that connects is given up.
                await caller.join()
            except CallError:
                return None
            return caller

        left = max(1.0, deadline - time.monotonic())
        caller: Caller = await until(f"alice to be let into {name}", join, seconds=left, every=1.0)
        return caller

    async def _first_agent(self, caller: Caller, changes: Changes, deadline: float) -> None:
        """Wait until an agent is there, or the caller is put out; raises TimeoutError."""
        left = max(1.0, deadline - time.monotonic())
        await changes.until(
            lambda: bool(caller.agents or caller.disconnected), left, f"an agent to come to {caller.room}"
        )

    async def _stay(self, record: Record, caller: Caller, changes: Changes, lasts: float) -> None:
        on, served = await self._path(caller), time.monotonic()
        try:
            await changes.until(lambda: caller.is_cut, lasts, "the call to be cut")
        except NotSeenError:
            return  # it lasted
        record.cut = caller.disconnected or "its agent left"
        # Whoever was killed while the agent was on its way to the room counts as well.
        record.cause = self.losses.cause({*on, *caller.pods}, served - record.waited)
        if not caller.disconnected:
            await changes.until(
                lambda: bool(caller.agents or caller.disconnected), AGAIN_SECONDS, f"another agent in {record.name}"
            )

    async def _path(self, caller: Caller) -> set[str]:
        """Return what a call is on, but for its agents: the server's pod, and the node it is reached by."""

        async def look() -> list[Manifest]:
            return await self.story.kubectl.find("pods", SERVERS)

        pods = await until("the API server to tell of servers", look)
        return {*(pod["metadata"]["name"] for pod in pods), caller.address}
