"""Many calls at once: callers with real audio who come within seconds and stay, and guests without any sound.

async with calls(secrets, within=5) as placed:
    await asyncio.gather(*(call.greeting(60) for call in placed))
    async with asking(placed[0]) as turns:
        ...
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from livekit import rtc

from tests.caller.call import Call, CallError, is_agent, redact_logs
from tests.caller.report import Turn
from tests.caller.secret import CallerSecret
from tests.caller.waiting import Changes

QUESTION = "What are your opening hours?"
_SECONDS_BETWEEN_QUESTIONS = 2.0
# Looking for other networks all the time costs 2 % of a core for each connection.
_LIGHT = rtc.RtcConfiguration(continual_gathering_policy=rtc.ContinualGatheringPolicy.GATHER_ONCE)


@asynccontextmanager
async def calls(secrets: Sequence[Mapping[str, str]], *, within: float = 0.0) -> AsyncIterator[list[Call]]:
    """Place a call with each token Secret, evenly within some seconds; all hang up at the end.

    They begin as listeners, so that a small machine bears some of them: each has a microphone from its first question.
    """
    placed = [Call(secret, listener=True) for secret in secrets]
    _go_first()
    try:
        await _arrive([call.join for call in placed], within)
        yield placed
    finally:
        await asyncio.gather(*(call.hang_up() for call in placed))


async def ask(call: Call) -> Turn:
    """Ask until an answer comes, three times at most, as people do when their words got lost on a busy machine."""
    for _ in range(2):
        with suppress(CallError):
            return await call.ask(QUESTION)
    return await call.ask(QUESTION)


@asynccontextmanager
async def asking(call: Call) -> AsyncIterator[list[Turn]]:
    """Ask again and again until the block ends, and give the answers; raises CallError where one stays away."""
    turns: list[Turn] = []
    over = asyncio.Event()

    async def go_on() -> None:
        while not over.is_set():
            turns.append(await ask(call))
            await call.hold(_SECONDS_BETWEEN_QUESTIONS)

    _go_first()
    task = asyncio.create_task(go_on())
    try:
        yield turns
    finally:
        over.set()
        await task


class Guest:
    """Somebody in a room who neither sends nor receives: as light as a participant can be."""

    def __init__(self, secret: Mapping[str, str], changed: Callable[[], None]) -> None:
        self._secret = CallerSecret.of(secret)
        self._changed = changed
        self._room = rtc.Room()
        self.joined: float | None = None
        self.agents: set[str] = set()
        """The agents that are in the room now."""
        self.first_agent: float | None = None
        """When the first one came, in monotonic seconds."""
        self.most_agents = 0
        """How many were there at once."""
        self.disconnected = ""
        """Why the server ended the connection, empty while it has not."""

    @property
    def room(self) -> str:
        """Return the name of the room."""
        return self._secret.room

    async def join(self) -> None:
        """Connect; raises CallError without the token."""
        redact_logs()
        self._room.on("participant_connected", self._came)
        self._room.on("participant_disconnected", self._left)
        self._room.on("disconnected", self._ended)
        options = rtc.RoomOptions(auto_subscribe=False, rtc_config=_LIGHT)
        try:
            await self._room.connect(self._secret.url, self._secret.token, options)
        except rtc.ConnectError as error:
            raise CallError(f"cannot join: {self._secret.redact(error.message)}") from None
        self.joined = time.monotonic()
        for participant in self._room.remote_participants.values():
            self._came(participant)

    async def leave(self) -> None:
        """Leave the room."""
        self._room.off("disconnected", self._ended)
        if self._room.isconnected():
            await self._room.disconnect()

    def _came(self, participant: rtc.RemoteParticipant) -> None:
        if not is_agent(participant):
            return
        self.agents.add(participant.identity)
        self.first_agent = self.first_agent or time.monotonic()
        self.most_agents = max(self.most_agents, len(self.agents))
        self._changed()

    def _left(self, participant: rtc.RemoteParticipant) -> None:
        self.agents.discard(participant.identity)
        self._changed()

    def _ended(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self.disconnected = rtc.DisconnectReason.Name(reason)
        self._changed()


class Guests:
    """Guests who come evenly within some seconds: `async with Guests(secrets, within=30) as guests: ...`."""

    def __init__(self, secrets: Sequence[Mapping[str, str]], *, within: float) -> None:
        self._changes = Changes()
        self._within = within
        self.all = [Guest(secret, self._changes.notify) for secret in secrets]

    async def __aenter__(self) -> "Guests":
        try:
            await _arrive([guest.join for guest in self.all], self._within)
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave()

    async def until(self, what: str, condition: Callable[[Guest], bool], seconds: float) -> None:
        """Wait until a condition holds for each of them, all at once."""
        await self._changes.until(lambda: all(map(condition, self.all)), seconds, what)

    async def _leave(self) -> None:
        await asyncio.gather(*(guest.leave() for guest in self.all))


def _go_first() -> None:
    """Let the callers go before the cluster where they share a machine, as they do not when people call.

    Speech that is sent with gaps is not understood.
    """
    # Of the whole session: where the kernel groups processes by it, a thread's own priority counts only within.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("-10")
    for thread in Path("/proc/self/task").glob("*"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), -10)


async def _arrive(joins: Sequence[Callable[[], Coroutine[Any, Any, None]]], within: float) -> None:
    async def arrive(number: int, join: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # Nobody waits for anything before they call.
        await asyncio.sleep(within * number / len(joins))
        await join()

    async with asyncio.TaskGroup() as group:
        for number, join in enumerate(joins):
            group.create_task(arrive(number, join))
