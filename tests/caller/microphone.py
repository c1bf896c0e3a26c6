"""A microphone that is always on: silence, or what it is given to say, in 10 ms frames."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from livekit import rtc
from livekit.rtc._ffi_client import FfiClient
from livekit.rtc._proto import ffi_pb2

from tests.providers.audio import Samples, to_pcm16

RATE = 48000
_FRAME = RATE // 100
_LATE = 0.2  # seconds behind schedule after which frames are left out instead of sent in a burst
_AUDIBLE = 0.01  # of the loudest sample; quieter edges of an utterance are not speech


@dataclass(frozen=True)
class Spoken:
    """When an utterance was said, in monotonic seconds; the end is the moment its last sounding frame left."""

    start: float
    end: float
    samples: Samples


class _Source(rtc.AudioSource):
    """An audio source that does not wait for the SDK's receipt of every frame.

    `capture_frame` of livekit 1.1 subscribes to all events of the process for each frame, a cost that grows with the
    square of the number of calls: ten of them fill a core. Without a queue in the SDK there is nothing to wait for.
    """

    def __init__(self) -> None:
        super().__init__(RATE, 1, queue_size_ms=0)
        self._sent: deque[rtc.AudioFrame] = deque(maxlen=100)  # the SDK reads a frame's memory after the call returns

    def push(self, frame: rtc.AudioFrame) -> None:
        self._sent.append(frame)
        request = ffi_pb2.FfiRequest()
        request.capture_audio_frame.source_handle = self._ffi_handle.handle
        request.capture_audio_frame.buffer.CopyFrom(frame._proto_info())
        FfiClient.instance.request(request)


class Microphone:
    """Publishes one audio track; with no queue in the SDK, a frame's time is the time it was captured."""

    def __init__(self) -> None:
        self._source = _Source()
        self._track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        self._pending: asyncio.Queue[tuple[Samples, asyncio.Future[Spoken]]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._on = True
        self.spoken: list[Spoken] = []
        self.late_frames = 0

    async def publish(self, participant: rtc.LocalParticipant) -> None:
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await participant.publish_track(self._track, options)
        self._task = asyncio.create_task(self._run())

    async def say(self, samples: Samples) -> Spoken:
        """Say 48 kHz sound; returns when its last sounding frame has been sent."""
        if self._task is None or self._task.done():
            raise RuntimeError("the microphone is off")
        said: asyncio.Future[Spoken] = asyncio.get_running_loop().create_future()
        await self._pending.put((trimmed(samples), said))
        return await said

    async def close(self) -> None:
        # Ended by a flag, not cancelled: a frame the SDK still holds would answer to nobody.
        self._on = False
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await self._source.aclose()

    async def _run(self) -> None:
        silence = np.zeros(_FRAME, dtype=np.float32)
        saying: Samples = silence[:0]
        said: asyncio.Future[Spoken] | None = None
        whole, start, position = saying, 0.0, 0
        due = time.monotonic()
        while self._on:
            if said is None and not self._pending.empty():
                saying, said = self._pending.get_nowait()
                whole, position = saying, 0
            frame = silence
            if said is not None:
                frame = np.pad(whole[position : position + _FRAME], (0, max(0, position + _FRAME - len(whole))))
                if position == 0:
                    start = time.monotonic()
                position += _FRAME
            self._source.push(rtc.AudioFrame(to_pcm16(frame), RATE, 1, _FRAME))
            if said is not None and position >= len(whole):
                spoken = Spoken(start, time.monotonic(), whole)
                self.spoken.append(spoken)
                if not said.done():
                    said.set_result(spoken)
                said = None
            due += 0.01
            behind = time.monotonic() - due
            if behind > _LATE:
                self.late_frames += int(behind / 0.01)
                due = time.monotonic()
            elif behind < 0:
                await asyncio.sleep(-behind)
            else:
                await asyncio.sleep(0)
        if said is not None:
            said.cancel()


def trimmed(samples: Samples) -> Samples:
    """An utterance without its silent edges, so that its end is the end of speech."""
    loud = np.flatnonzero(np.abs(samples) > _AUDIBLE * np.abs(samples).max(initial=0.0))
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]
