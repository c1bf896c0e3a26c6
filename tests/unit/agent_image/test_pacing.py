"""The first frame of a speech is out before the rest is worked on, and all else passes as it is."""

import asyncio

from livekit import rtc
from livekit.agents.voice import io

from voice_agent.pacing import YieldingAudioOutput


class Output(io.AudioOutput):
    """What plays the sound, and notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(label="Output", sample_rate=24000, capabilities=io.AudioOutputCapabilities(pause=True))
        self.asked: list[str] = []

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Take a frame without waiting for anything."""
        await super().capture_frame(frame)
        self.asked.append("frame")

    def flush(self) -> None:
        """Take the end of a speech."""
        super().flush()
        self.asked.append("flush")

    def clear_buffer(self) -> None:
        """Drop what is not yet played."""
        self.asked.append("clear")


FRAME = rtc.AudioFrame(data=b"\0\0" * 240, sample_rate=24000, num_channels=1, samples_per_channel=240)


async def test_others_have_their_turn_after_every_frame() -> None:
    output, turns = Output(), list[int]()
    yielding = YieldingAudioOutput(output)

    async def others() -> None:
        while len(output.asked) < 3:
            turns.append(len(output.asked))
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    for _ in range(3):
        await yielding.capture_frame(FRAME)
    await beside
    assert turns == [1, 2]


async def test_end_and_interruption_are_passed_on() -> None:
    output = Output()
    yielding = YieldingAudioOutput(output)
    assert yielding.sample_rate == 24000
    await yielding.capture_frame(FRAME)
    yielding.flush()
    yielding.clear_buffer()
    assert output.asked == ["frame", "flush", "clear"]
