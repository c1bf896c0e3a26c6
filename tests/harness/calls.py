"""Calls that last: a caller who asks again and again, and many guests and listeners at once.

async with asking(call) as turns:
    ...
async with Guests(Listener, secrets, within=5) as guests:
    await guests.until("an agent to be heard", Listener.hears, 60)
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from livekit import rtc

from tests.caller.call import Call, CallError, is_agent, redact_logs
from tests.caller.hearing import RATE
from tests.caller.report import Turn
from tests.caller.secret import CallerSecret
from tests.caller.waiting import Changes
from tests.media.tone import Hearing
from tests.providers.audio import from_pcm16

QUESTION = "What are your opening hours?"
# What the light agents of stories play, and listeners listen for.
TONE_HERTZ = 440
_SECONDS_BETWEEN_QUESTIONS = 2.0
_FRAME_MS = 50
# Looking for other networks all the time costs 2 % of a core for each connection.
_LIGHT = rtc.RtcConfiguration(continual_gathering_policy=rtc.ContinualGatheringPolicy.GATHER_ONCE)


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

    _listens = False

    def __init__(self, secret: Mapping[str, str], changed: Callable[[], None]) -> None:
        self._secret = CallerSecret.of(secret)
        self._changed = changed
        self._room = rtc.Room()
        self.joined: float | None = None
        self.agents: set[str] = set()
        """The agents that are in the room now."""
        self.all_agents: list[str] = []
        """All that ever came, one that came twice twice."""
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
        options = rtc.RoomOptions(auto_subscribe=self._listens, rtc_config=_LIGHT)
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
        if participant.identity not in self.agents:
            self.all_agents.append(participant.identity)
        self.agents.add(participant.identity)
        self.most_agents = max(self.most_agents, len(self.agents))
        self._changed()

    def _left(self, participant: rtc.RemoteParticipant) -> None:
        self.agents.discard(participant.identity)
        self._changed()

    def _ended(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self.disconnected = rtc.DisconnectReason.Name(reason)
        self._changed()


class Listener(Guest):
    """A guest who listens for the agent's tone all the time."""

    _listens = True

    def __init__(self, secret: Mapping[str, str], changed: Callable[[], None]) -> None:
        super().__init__(secret, changed)
        self._hearing = Hearing(TONE_HERTZ, RATE)
        self._streams: list[asyncio.Task[None]] = []

    async def join(self) -> None:
        """Connect and listen; raises CallError without the token."""
        self._room.on("track_subscribed", self._track_came)
        _go_first()
        await super().join()

    async def leave(self) -> None:
        """Leave the room."""
        await super().leave()
        for stream in self._streams:
            stream.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    def hears(self) -> bool:
        """Return whether the tone sounds now."""
        return self._hearing.sounding(time.monotonic())

    def first_heard(self) -> float:
        """Return how many seconds after having joined the tone was first heard, infinity when it was not."""
        if self.joined is None or self._hearing.first is None:
            return float("inf")
        return self._hearing.first - self.joined

    def longest_gap(self) -> float:
        """Return the longest time, in seconds, without the tone since it was first heard, infinity if it never was."""
        if self._hearing.first is None:
            return float("inf")
        return max((gap.ms / 1000 for gap in self._hearing.all_gaps(time.monotonic())), default=0.0)

    def _track_came(self, track: rtc.Track, *_: object) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            # After a reconnect the same track comes again: each stream has an account of its own.
            self._streams.append(asyncio.create_task(self._listen(track, f"{track.sid} {len(self._streams)}")))

    async def _listen(self, track: rtc.Track, name: str) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=_FRAME_MS)
        try:
            async for event in stream:
                self._hearing.take(name, from_pcm16(bytes(event.frame.data)), time.monotonic())
        finally:
            await stream.aclose()


G = TypeVar("G", bound=Guest)


class Guests(Generic[G]):
    """Guests of a kind who come evenly within some seconds: `async with Guests(Guest, secrets, within=30) as them`."""

    def __init__(self, kind: type[G], secrets: Sequence[Mapping[str, str]], *, within: float) -> None:
        self._changes = Changes()
        self._within = within
        self.all = [kind(secret, self._changes.notify) for secret in secrets]

    async def __aenter__(self) -> "Guests[G]":
        try:
            await _arrive([guest.join for guest in self.all], self._within)
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave()

    async def until(self, what: str, condition: Callable[[G], bool], seconds: float) -> None:
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
