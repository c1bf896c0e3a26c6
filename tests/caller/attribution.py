"""Takes a reply's delay apart: what the caller noticed against the stand-ins' log (`GET /control/log`).

Both use CLOCK_REALTIME, so caller and stand-ins must run on one machine, or on machines whose clocks agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.providers.script import normalised

from .report import CallReport, Turn


@dataclass(frozen=True)
class Parts:
    """Milliseconds each part of a reply took; together they are the reply's delay."""

    transcript: float
    """End of speech to final transcript: the way to the agent and the provider's end-pointing."""
    agent_before_model: float
    """Transcript to question asked (negative with preemptive generation)."""
    model: float
    """Question asked to first token."""
    agent_before_voice: float
    """First token to first word to be spoken."""
    voice: float
    """First word to first audio."""
    playback: float
    """First audio to the first sound at the caller: end-of-turn decision, the agent's playback and the way back."""


def parts(report: CallReport, turn: Turn, log: Sequence[Mapping[str, Any]]) -> Parts | None:
    """Attribute one turn's reply; none when the log does not hold every step of it."""
    if turn.reply_ms is None:
        return None
    began, spoken = report.placed_at_ms + turn.start_ms, report.placed_at_ms + turn.end_ms
    sounded = spoken + turn.reply_ms
    within = [event for event in log if began <= event["at_ms"] <= sounded]
    question = normalised(turn.said)
    asked = [e for e in within if e["event"] == "asked" and e["provider"] == "llm"]
    asked = [e for e in asked if normalised(e["detail"].get("question") or "").endswith(question)]
    heard = [e for e in within if e["event"] == "heard" and question.endswith(normalised(e["detail"]["text"]) or "-")]
    if not asked or not heard:
        return None
    model = asked[-1]
    token = _after(within, model, "llm", "first_token")
    voice = token and _after(within, token, "tts", "asked")
    audio = voice and _after(within, voice, "tts", "first_audio")
    if token is None or voice is None or audio is None:
        return None
    moments = [spoken, *(float(event["at_ms"]) for event in (heard[-1], model, token, voice, audio)), sounded]
    return Parts(*(round(b - a, 1) for a, b in pairwise(moments)))


def _after(
    events: Sequence[Mapping[str, Any]], earlier: Mapping[str, Any], provider: str, name: str
) -> Mapping[str, Any] | None:
    """The first such event after another one."""
    following = (e for e in events if e["seq"] > earlier["seq"] and e["provider"] == provider and e["event"] == name)
    return next(following, None)
