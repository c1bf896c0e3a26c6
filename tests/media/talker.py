"""One participant as a process: `python -m tests.media.talker`.

It reads one line of JSON (`Orders`) from standard input, so that the token is in no argument list, and then a line for
each `look`; the end of standard input ends the call. On standard output it writes one JSON object a line:

    {"event": "joined"}                          connected, its tone published
    {"event": "hearing"}, {"event": "silent"}    the other's tone began, or has stopped
    {"event": "reconnecting" ...}                what the SDK says about the connection
    {"event": "look", "heard": {...}}            the answer to `look` (tests.media.report.Heard)
    {"event": "failed", "detail": "..."}         it could not join
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Any

from livekit import rtc

from tests.caller.hearing import RATE
from tests.caller.microphone import RATE as MICROPHONE_RATE
from tests.caller.microphone import Microphone
from tests.caller.secret import RedactTokens, redact
from tests.caller.transport import Path, Reception, measure
from tests.providers.audio import from_pcm16

from .orders import LOOK, Orders
from .report import Heard, Relay
from .tone import Hearing, tone

_CONNECT_SECONDS = 30.0
_FRAME_MS = 20
_TONE_SECONDS = 10
_WATCH_SECONDS = 0.05


class Tone(Microphone):
    """A microphone with a tone that never ends."""

    async def publish(self, participant: rtc.LocalParticipant) -> None:
        # Without discontinuous transmission: an even tone looks like background noise to Opus.
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
        await participant.publish_track(self._track, options)
        self._task = asyncio.create_task(self._run())

    async def sound(self, hertz: int) -> None:
        """Send the tone until cancelled."""
        samples = tone(hertz, MICROPHONE_RATE, _TONE_SECONDS)
        # One is always waiting, so that none is late.
        waiting = asyncio.ensure_future(self.say(samples))
        try:
            while True:
                following = asyncio.ensure_future(self.say(samples))
                await waiting
                waiting = following
        finally:
            waiting.cancel()


class Talker:
    """Joins, sends its tone, listens and tells."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._secret = orders.secret
        self._room = rtc.Room()
        self._tone = Tone()
        self._hearing = Hearing(orders.hears, RATE)
        self._tasks: list[asyncio.Task[None]] = []
        self._joined = 0.0
        self._reconnecting = 0
        self._reconnected = 0
        self._disconnected: list[str] = []
        self._paths: tuple[Path, ...] = ()
        self._relays: tuple[Relay, ...] = ()
        self._reception: Reception | None = None
        self._leaving = False

    async def join(self) -> None:
        """Connect and send the tone; raises RuntimeError, without the token, when that fails."""
        self._observe()
        options = rtc.RoomOptions()
        if self._orders.relay_only:
            options.rtc_config = rtc.RtcConfiguration(ice_transport_type=rtc.IceTransportType.TRANSPORT_RELAY)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await self._room.connect(self._secret.url, self._secret.token, options)
                self._joined = time.monotonic()
                await self._tone.publish(self._room.local_participant)
        except (rtc.ConnectError, rtc.room.ConnectError) as error:
            raise RuntimeError(f"cannot join: {self._secret.redact(error.message)}") from None
        except TimeoutError:
            raise RuntimeError(f"cannot join {self._secret.url} within {_CONNECT_SECONDS:g} s") from None
        self._start(self._tone.sound(self._orders.sends))
        self._start(self._watch())
        tell("joined")

    async def look(self) -> Heard:
        """Return what was heard until now."""
        if self._room.isconnected():
            self._paths, self._reception = await measure(self._room)
            self._relays = await _relays(self._room)
        now = time.monotonic()
        return Heard(
            identity=self._secret.identity,
            joined=self._joined,
            first=self._hearing.first,
            now=now,
            gaps=self._hearing.all_gaps(now),
            reconnecting=self._reconnecting,
            reconnected=self._reconnected,
            disconnected=tuple(self._disconnected),
            paths=self._paths,
            relays=self._relays,
            reception=self._reception,
            late_frames=self._tone.late_frames,
        )

    async def leave(self) -> None:
        """Leave the room and let go of everything."""
        self._leaving = True
        if self._room.isconnected():
            await self._room.disconnect()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._tone.close()

    def _observe(self) -> None:
        self._room.on("track_subscribed", self._track_came)
        self._room.on("reconnecting", self._connection_lost)
        self._room.on("reconnected", self._connection_back)
        self._room.on("disconnected", self._connection_ended)

    def _track_came(self, track: rtc.Track, *_: object) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            # Until its sound ends, whatever is told of subscriptions: after a reconnect the same track comes again,
            # and the end of the old one may be told last.
            self._start(self._listen(track, f"{track.sid} {len(self._tasks)}"))

    def _connection_lost(self) -> None:
        self._reconnecting += 1
        tell("reconnecting")

    def _connection_back(self) -> None:
        self._reconnected += 1
        tell("reconnected")

    def _connection_ended(self, reason: rtc.DisconnectReason.ValueType) -> None:
        if not self._leaving:
            self._disconnected.append(rtc.DisconnectReason.Name(reason))
            tell("disconnected", detail=self._disconnected[-1])

    async def _listen(self, track: rtc.Track, name: str) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=_FRAME_MS)
        try:
            async for event in stream:
                self._hearing.take(name, from_pcm16(bytes(event.frame.data)), time.monotonic())
        finally:
            await stream.aclose()

    async def _watch(self) -> None:
        """Tell when the other's tone begins and stops."""
        told = False
        while True:
            if self._hearing.sounding(time.monotonic()) != told:
                told = not told
                tell("hearing" if told else "silent")
            await asyncio.sleep(_WATCH_SECONDS)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))


async def _relays(room: rtc.Room) -> tuple[Relay, ...]:
    stats = await room.get_rtc_stats()
    found = []
    for entries in (list(stats.publisher_stats), list(stats.subscriber_stats)):
        candidates = {e.local_candidate.rtc.id: e.local_candidate.candidate for e in entries}
        pairs = {e.candidate_pair.rtc.id: e.candidate_pair.candidate_pair for e in entries}
        for entry in entries:
            pair = pairs.get(entry.transport.transport.selected_candidate_pair_id or "-")
            local = candidates.get(pair.local_candidate_id) if pair else None
            # Not by its type: behind address translation what the server sees of a relay is peer-reflexive.
            if local is not None and local.HasField("relay_protocol"):
                found.append(Relay(local.address, local.port, local.url))
    return tuple(found)


def tell(event: str, **more: object) -> None:
    """Write one line for the process that started this one."""
    print(json.dumps({"event": event, **more}), flush=True)


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def talk() -> int:
    """Do as told until standard input ends."""
    orders_from = await _standard_input()
    talker = Talker(Orders(**json.loads(await orders_from.readline())))
    try:
        try:
            await talker.join()
        except RuntimeError as error:
            tell("failed", detail=redact(str(error)))
            return 1
        while line := await orders_from.readline():
            if line.strip() == LOOK.encode():
                tell(LOOK, heard=asdict(await talker.look()))
    finally:
        await talker.leave()
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactTokens())
    sys.exit(asyncio.run(talk()))
