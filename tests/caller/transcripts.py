"""Collects the transcripts agents publish as text streams (topic lk.transcription)."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from livekit import rtc

TOPIC = "lk.transcription"
# Attributes of livekit-agents 1.8.9 (livekit/agents/types.py).
_SEGMENT_ID = "lk.segment_id"
_FINAL = "lk.transcription_final"


@dataclass
class Segment:
    """What one participant was understood to say, in monotonic seconds; interim texts replace each other."""

    identity: str
    text: str
    first: float
    last: float
    final: bool = False


class Transcripts:
    """Follows every segment; the agent's own words arrive in pieces of one stream, the caller's as whole versions."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._tasks: set[asyncio.Task[None]] = set()
        self.segments: dict[tuple[str, str], Segment] = {}

    def follow(self, room: rtc.Room) -> None:
        room.register_text_stream_handler(TOPIC, self._opened)

    def _opened(self, reader: rtc.TextStreamReader, identity: str) -> None:
        task = asyncio.create_task(self._read(reader, identity))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, reader: rtc.TextStreamReader, identity: str) -> None:
        attributes = reader.info.attributes or {}
        key = (identity, attributes.get(_SEGMENT_ID, reader.info.stream_id))
        text = ""
        try:
            async for piece in reader:
                text += piece
                now = time.monotonic()
                segment = self.segments.setdefault(key, Segment(identity, text, now, now))
                segment.text, segment.last = text, now
                self._changed()
        except rtc.StreamError:
            return  # the call ended inside the stream; what arrived stays
        final = (reader.info.attributes or {}).get(_FINAL) == "true"
        if key in self.segments and final:
            self.segments[key].final = True
            self._changed()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
