"""Lets the first sound of a speech out before the rest of it is worked on."""

from __future__ import annotations

import asyncio

from livekit import rtc
from livekit.agents.voice import io


class YieldingAudioOutput(io.AudioOutput):
    """Gives the event loop a turn after every frame it passes on.

    Speech synthesis delivers a sentence much faster than it is spoken, and forwarding what is already there never
    waits: without this, pacing the transcript analyses the whole sentence (some 80 ms) before the task that plays
    it gets its first frame.
    """

    def __init__(self, next_in_chain: io.AudioOutput) -> None:
        super().__init__(
            label="Yielding",
            next_in_chain=next_in_chain,
            sample_rate=next_in_chain.sample_rate,
            capabilities=io.AudioOutputCapabilities(pause=True),
        )
        self._next = next_in_chain

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await self._next.capture_frame(frame)
        await super().capture_frame(frame)
        await asyncio.sleep(0)

    def flush(self) -> None:
        super().flush()
        self._next.flush()

    def clear_buffer(self) -> None:
        self._next.clear_buffer()
