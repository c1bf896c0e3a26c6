"""What happened in a call, for a program (JSON) and for a person (a conversation with times)."""

import json
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from tests.providers.audio import Samples, to_pcm16
from tests.providers.script import AGENT_LINES

from .heard import Line, recognise
from .transport import Path, Reception


@dataclass(frozen=True)
class Event:
    """Something that happened in the room; times are milliseconds since the call was placed."""

    at_ms: float
    what: str
    detail: str = ""


@dataclass(frozen=True)
class Turn:
    """One thing the caller said and how the agent took it."""

    said: str
    start_ms: float
    end_ms: float
    reply_ms: float | None = None
    """From the end of speech to the first sound of the reply."""
    silenced_ms: float | None = None
    """From the first sound of an interruption to the agent's last sound."""


@dataclass(frozen=True)
class Transcript:
    """What somebody was understood to say, as the agent published it."""

    at_ms: float
    who: str
    text: str
    final: bool


@dataclass(frozen=True)
class Audio:
    """The call's sound: the agent and the caller apart, on one timeline that begins when the call was placed."""

    rate: int
    agent: Samples
    caller: Samples


@dataclass(frozen=True)
class CallReport:
    """Everything measured in one call; times are milliseconds since the call was placed, durations say from where."""

    room: str
    identity: str
    url: str
    placed_at_ms: float
    """CLOCK_REALTIME, to be compared with the logs of servers on the same machine."""
    connected_ms: float | None
    """From the start of connecting."""
    agent_present_ms: float | None
    """From having joined to the agent's participant being in the room."""
    greeting_ms: float | None
    """From having joined to the first sound of the agent."""
    ended_ms: float
    turns: tuple[Turn, ...]
    heard: tuple[Line, ...]
    """The agent's words, recognised from its sound (seconds since the call was placed)."""
    sounds_ms: tuple[tuple[float, float], ...]
    """When the agent sounded; pauses shorter than a quarter of a second do not count."""
    stalls_ms: tuple[tuple[float, float], ...]
    """When the agent's audio stopped arriving."""
    transcripts: tuple[Transcript, ...]
    paths: tuple[Path, ...]
    reception: Reception | None
    events: tuple[Event, ...]
    disconnect_reason: str | None
    """Why the server ended the call; none when the caller hung up."""
    microphone_late_frames: int
    audio: Audio = field(repr=False, compare=False)

    @property
    def reply_ms(self) -> float | None:
        """The first reply's delay."""
        return next((turn.reply_ms for turn in self.turns if turn.reply_ms is not None), None)

    @property
    def silenced_ms(self) -> float | None:
        """How long the agent went on after the first interruption began."""
        return next((turn.silenced_ms for turn in self.turns if turn.silenced_ms is not None), None)

    def silences_ms(self, longer_than_ms: float) -> tuple[tuple[float, float], ...]:
        """The pauses between the agent's sounds: gaps, where the agent should have sounded all the time."""
        pauses = ((a[1], b[0]) for a, b in pairwise(self.sounds_ms))
        return tuple(pause for pause in pauses if pause[1] - pause[0] > longer_than_ms)

    def to_dict(self) -> dict[str, Any]:
        """The report without its sound."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "audio"}
        return {name: _plain(value) for name, value in fields.items()}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def write_wav(self, path: FilePath) -> None:
        """Write the call as a person would have heard it, the caller left and the agent right."""
        both = np.stack([self.audio.caller, self.audio.agent], axis=1).reshape(-1)
        with wave.open(str(path), "wb") as out:
            out.setnchannels(2)
            out.setsampwidth(2)
            out.setframerate(self.audio.rate)
            out.writeframes(to_pcm16(both))

    def to_text(self) -> str:
        """The call as a conversation: one line an event, with its time in seconds."""
        lines = [(0.0, f"calling {self.url}, room {self.room}, as {self.identity}")]
        lines += [(event.at_ms, f"{event.what} {event.detail}".rstrip()) for event in self.events]
        lines += [(line.start * 1000, f"agent:  {line.text}{'' if line.complete else ' …'}") for line in self.heard]
        recognised = [(line.start * 1000, line.end * 1000) for line in self.heard]
        for start, end in self.sounds_ms:
            if not any(start < to and end > since for since, to in recognised):
                lines.append((start, f"agent:  ({(end - start) / 1000:.1f} s of sound, no known words)"))
        for turn in self.turns:
            lines.append((turn.start_ms, f"caller: {turn.said}"))
            if turn.silenced_ms is not None:
                lines.append((turn.start_ms + turn.silenced_ms, f"agent silent {turn.silenced_ms:.0f} ms after that"))
            if turn.reply_ms is not None:
                lines.append((turn.end_ms + turn.reply_ms - 0.01, f"reply begins {turn.reply_ms:.0f} ms after speech"))
        text = "\n".join(f"{at / 1000:8.3f}  {what}" for at, what in sorted(lines, key=lambda line: line[0]))
        return f"{text}\n{self._summary()}"

    def _summary(self) -> str:
        figures = [
            ("connected", self.connected_ms),
            ("agent present", self.agent_present_ms),
            ("greeting", self.greeting_ms),
            ("reply", self.reply_ms),
            ("silent after interruption", self.silenced_ms),
        ]
        measured = ", ".join(f"{name} {value:.0f} ms" for name, value in figures if value is not None)
        media = "; ".join(f"{path.direction} {path}" for path in self.paths) or "no path known"
        lost = "" if self.reception is None else f", {self.reception.packets_lost} packets lost"
        return f"          {measured}\n          media: {media}{lost}"


def heard(report: CallReport, lines: Sequence[str] = AGENT_LINES) -> list[str]:
    """The known utterances that can be heard, each to its end, in the recorded sound."""
    found = report.heard
    if tuple(lines) != AGENT_LINES:
        stretches = [(start / 1000, end / 1000) for start, end in report.sounds_ms]
        found = recognise(report.audio.agent, report.audio.rate, stretches, lines)
    return [line.text for line in found if line.complete]


def said_by_agents(report: CallReport) -> list[str]:
    """What agents said to its end, as they published it along with the sound.

    Unlike `heard` it does not depend on sound that arrives unbroken, which a busy machine may not give.
    """
    return [line.text.strip() for line in report.transcripts if line.final and line.who != report.identity]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(item) for name, item in asdict(value).items()}
    return round(value, 3) if isinstance(value, float) else value
