"""Listens to a participant's audio: records it on the call's timeline and notes when it sounds."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from livekit import rtc
from numpy.typing import NDArray

from tests.providers.audio import Samples, from_pcm16, to_pcm16

RATE = 24000
_SOUNDING_POWER = 10 ** (-50 / 10)  # 50 dB below full scale
_JOINED_PAUSE = 0.25  # shorter pauses are inside speech
_REANCHOR = 0.08  # seconds the recording may lag behind the arrival before it is set right
_FRAME_MS = 50  # larger than WebRTC's 10 ms, because every frame costs Python time in each of many calls
_PART = RATE // 100  # what is judged as sounding or not: 10 ms
_STALL = 0.15  # frames come every 50 ms; a longer wait is a gap one could hear


@dataclass
class Sound:
    """A stretch of sound, in monotonic seconds."""

    start: float
    end: float


@dataclass
class Recording:
    """Pieces of sound with the moment each begins, in monotonic seconds."""

    pieces: list[tuple[float, list[NDArray[np.int16]]]] = field(default_factory=list)
    _length: float = 0.0

    def add(self, at: float, samples: Samples) -> None:
        """Append a frame that arrived now; frames follow each other without seams unless the stream stalled."""
        if not self.pieces or abs(self.pieces[-1][0] + self._length - at) > _REANCHOR:
            self.pieces.append((at, []))
            self._length = 0.0
        # Kept as 16 bits, as they came: an hour is 170 MB.
        self.pieces[-1][1].append(np.frombuffer(to_pcm16(samples), dtype=np.int16))
        self._length += len(samples) / RATE

    def mixed(self, start: float, end: float) -> Samples:
        """The recorded sound between two moments."""
        out = np.zeros(max(0, round((end - start) * RATE)), dtype=np.float32)
        for at, frames in self.pieces:
            piece = np.concatenate(frames).astype(np.float32) / 32768
            begin = round((at - start) * RATE)
            piece = piece[max(0, -begin) :]
            begin = max(0, begin)
            room = out[begin : begin + len(piece)]
            room += piece[: len(room)]
        return out


class Ear:
    """Hears every audio track of the agents in a room as one."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.recording = Recording()
        self.sounds: list[Sound] = []
        self.stalls: list[Sound] = []

    @property
    def last_sound(self) -> float | None:
        """The end of the latest sound."""
        return self.sounds[-1].end if self.sounds else None

    def first_sound_after(self, moment: float) -> float | None:
        """When a sound began after the moment."""
        return next((sound.start for sound in self.sounds if sound.start >= moment), None)

    def sounding(self) -> bool:
        return bool(self.sounds) and time.monotonic() - self.sounds[-1].end < _JOINED_PAUSE

    def silent_for(self, seconds: float) -> bool:
        return not self.sounds or time.monotonic() - self.sounds[-1].end >= seconds

    def listen(self, track: rtc.Track) -> None:
        """Hear a track until it ends."""
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=_FRAME_MS)
        self._tasks[track.sid] = asyncio.create_task(self._hear(stream))

    def ignore(self, track_sid: str) -> None:
        """Stop hearing a track."""
        task = self._tasks.pop(track_sid, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _hear(self, stream: rtc.AudioStream) -> None:
        previous = time.monotonic()
        try:
            async for event in stream:
                now = time.monotonic()
                if now - previous > _STALL:
                    self.stalls.append(Sound(previous, now))
                previous = now
                self._heard(from_pcm16(bytes(event.frame.data)), now)
                self._changed()
        finally:
            await stream.aclose()

    def _heard(self, samples: Samples, until: float) -> None:
        """Take sound whose last sample was played now."""
        begin = until - len(samples) / RATE
        self.recording.add(begin, samples)
        parts = samples[: len(samples) // _PART * _PART].reshape(-1, _PART)
        power = np.mean(np.square(parts), axis=1)
        for index in np.flatnonzero(power > _SOUNDING_POWER):
            at = begin + int(index) * _PART / RATE
            if self.sounds and at - self.sounds[-1].end < _JOINED_PAUSE:
                self.sounds[-1].end = at + _PART / RATE
            else:
                self.sounds.append(Sound(at, at + _PART / RATE))
