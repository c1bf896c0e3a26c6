"""People in a room who try what their token permits: LiveKit's own client, a tone of each one's own, a screen, data.

tones = {"alice": 440, "bob": 600}
async with Visitor(secret, tones) as alice, Visitor(other, tones, watches={"alice"}) as bob:
    await asyncio.gather(alice.speak(), bob.share_screen(), bob.send("hello"))
    await until("bob to hear alice", ...)  # "alice" in bob.heard
"""

import asyncio
from collections.abc import Container, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self

from livekit import rtc

from tests.caller.call import redact_logs
from tests.caller.hearing import RATE
from tests.caller.secret import CallerSecret
from tests.media.talker import Tone
from tests.media.tone import sounds
from tests.providers.audio import from_pcm16

_CONNECT_SECONDS = 40.0
_FRAME_MS = 100
_PICTURE = 64


class Refused(Exception):
    """The server let somebody not do what they tried."""


class Visitor:
    """One participant; `heard`, `seen` and `told` are the identities whose tone, screen and data came.

    Takes the tracks of those it `watches`, of everybody when that is None.
    """

    def __init__(
        self, secret: Mapping[str, str], hertz: Mapping[str, int], watches: Container[str] | None = None
    ) -> None:
        self._secret = CallerSecret.of(secret)
        self._hertz = hertz
        self._watches = watches
        self._room = rtc.Room()
        self._tone = Tone()
        self._picture = rtc.VideoSource(_PICTURE, _PICTURE)
        self._tasks: list[asyncio.Task[None]] = []
        self.heard: set[str] = set()
        self.seen: set[str] = set()
        self.told: set[str] = set()
        self.put_out: str = ""
        """Why the server ended the connection."""

    async def __aenter__(self) -> Self:
        redact_logs()
        self._room.on("track_published", self._track_offered)
        self._room.on("track_subscribed", self._track_came)
        self._room.on("data_received", self._data_came)
        self._room.on("disconnected", self._ended)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                options = rtc.RoomOptions(auto_subscribe=self._watches is None)
                await self._room.connect(self._secret.url, self._secret.token, options)
        except rtc.ConnectError as error:
            raise Refused(self._secret.redact(error.message)) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._room.disconnect()
        await self._tone.close()
        await self._picture.aclose()

    @property
    def identity(self) -> str:
        """Who it is."""
        return self._secret.identity

    @property
    def permissions(self) -> Any:
        """What the server says that this one may do."""
        return self._room.local_participant.permissions

    @property
    def others(self) -> dict[str, str]:
        """Whom this one sees in the room: identity -> name."""
        return {str(p.identity): str(p.name) for p in self._room.remote_participants.values()}

    async def speak(self) -> None:
        """Publish a microphone with this one's tone; raises Refused."""
        try:
            await self._tone.publish(self._room.local_participant)
        except rtc.participant.PublishTrackError as error:
            raise Refused(error.message) from None
        self._start(self._tone.sound(self._hertz[self.identity]))

    async def share_screen(self) -> None:
        """Publish a screen; raises Refused."""
        track = rtc.LocalVideoTrack.create_video_track("screen", self._picture)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_SCREENSHARE, simulcast=False)
        # A track counts as published once a picture has come.
        self._start(self._paint())
        try:
            await self._room.local_participant.publish_track(track, options)
        except rtc.participant.PublishTrackError as error:
            raise Refused(error.message) from None

    async def send(self, text: str) -> None:
        """Send data to all; what is not permitted is lost without a word."""
        await self._room.local_participant.publish_data(text)

    async def rename(self, name: str) -> None:
        """Change this one's own name; what is not permitted is lost without a word."""
        await self._room.local_participant.set_name(name)

    def _track_offered(self, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
        if self._watches is not None and participant.identity in self._watches:
            publication.set_subscribed(True)

    def _track_came(self, track: rtc.Track, _: object, participant: rtc.RemoteParticipant) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self._start(self._listen(track, str(participant.identity)))
        else:
            self._start(self._watch(track, str(participant.identity)))

    def _data_came(self, packet: rtc.DataPacket) -> None:
        if packet.participant is not None:
            self.told.add(str(packet.participant.identity))

    def _ended(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self.put_out = rtc.DisconnectReason.Name(reason)

    async def _listen(self, track: rtc.Track, identity: str) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=_FRAME_MS)
        try:
            async for event in stream:
                if sounds(from_pcm16(bytes(event.frame.data)), RATE, self._hertz[identity]).any():
                    self.heard.add(identity)
                    return
        finally:
            await stream.aclose()

    async def _watch(self, track: rtc.Track, identity: str) -> None:
        stream = rtc.VideoStream(track)
        try:
            async for _ in stream:
                self.seen.add(identity)
                return
        finally:
            await stream.aclose()

    async def _paint(self) -> None:
        size = _PICTURE * _PICTURE
        frame = rtc.VideoFrame(_PICTURE, _PICTURE, rtc.VideoBufferType.I420, bytes([128]) * (size * 3 // 2))
        while True:
            self._picture.capture_frame(frame)
            await asyncio.sleep(0.1)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))
