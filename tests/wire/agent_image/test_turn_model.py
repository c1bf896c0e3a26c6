"""Callers who stop to think: what takes their pauses for the end of a turn, counted in the sound's own time.

Nothing here waits for the clock, so a busy machine changes no count. The recordings, voice activity and the turn model
are real; the rule is that of livekit-agents (voice/audio_recognition.py, `_on_vad_event` and `_bounce_eou_task`).
"""

import json
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import vad
from livekit.agents.inference.eot.base import MIN_SILENCE_DURATION_MS
from livekit.agents.inference.eot.languages import LOCAL_LANGUAGES
from livekit.local_inference import EOT, EOT_MAX_SAMPLES
from livekit.plugins import silero

from livekit_operator.pools.manifests import versions
from tests.providers.audio import Samples, to_pcm16
from tests.providers.recorded import HALVES, WHOLE, recorded
from voice_agent import config as configuration
from voice_agent.config import AgentConfig
from voice_agent.providers import hears_turns, vad_silence

RATE = 16000
_FRAME = RATE // 50
PAUSE = 0.7
"""Seconds for which a caller stops in the middle of a line."""

PAUSES = [first for first, _ in HALVES]
ENDS = [*WHOLE, *(second for _, second in HALVES)]
KEY = {"apiKeySecretRef": {"name": "providers", "key": "it"}}


class Model:
    """The turn model, asked about each line once."""

    def __init__(self) -> None:
        self._model = EOT()
        self._judged: dict[str, float] = {}

    async def judge(self, line: str) -> float:
        """Return how probable it is that a caller has finished who has just said a line."""
        if line not in self._judged:
            heard = await heard_when_asked(line)
            self._judged[line] = self._model.predict(np.frombuffer(to_pcm16(heard), dtype="<i2").copy())
        return self._judged[line]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


def configured(preset: str | None, detection: str | None) -> AgentConfig:
    """Return what the operator tells its agents."""
    agent: dict[str, Any] = {"instructions": "x", "stt": KEY, "llm": KEY, "tts": KEY}
    agent |= {"preset": preset} if preset else {}
    agent |= {"turnHandling": {"detection": detection}} if detection else {}
    worker = {"sessionsPerPod": 4, "idleProcesses": 3, "drainTimeoutSeconds": 60}
    document = versions.build_agent_config({"agentName": "a", "spec": {"agent": agent, **worker}})
    return configuration.parse(json.dumps(document))


async def heard_when_asked(line: str) -> Samples:
    """Return what the model hears of a line: the last 1.2 s, once 200 ms were silent."""
    sound: Samples = np.concatenate([recorded(line, RATE).samples, np.zeros(RATE, dtype=np.float32)])
    stream = silero.VAD.load(min_silence_duration=0.25).stream()
    for begin in range(0, len(sound) - _FRAME, _FRAME):
        stream.push_frame(rtc.AudioFrame(to_pcm16(sound[begin : begin + _FRAME]), RATE, 1, _FRAME))
    stream.end_input()
    asked: int | None = None
    async for event in stream:
        if event.type != vad.VADEventType.INFERENCE_DONE or not event.speaking:
            continue
        if event.raw_accumulated_speech > 0:
            asked = None  # the caller had not stopped, and is listened to again
        elif asked is None and event.raw_accumulated_silence >= MIN_SILENCE_DURATION_MS / 1000:
            asked = event.samples_index
    await stream.aclose()
    assert asked is not None, f"no silence was found after {line!r}"
    return sound[max(0, asked - EOT_MAX_SAMPLES) : asked]


async def patience(config: AgentConfig, model: Model, line: str) -> float:
    """Return the seconds of silence after a line that end the caller's turn."""
    turns = config.turn_handling
    waits = [turns.min_endpointing_delay_ms / 1000]
    waits.append(config.stt.endpointing_ms / 1000 if hears_turns(config) else vad_silence(config))
    if config.semantic and await model.judge(line) < LOCAL_LANGUAGES["en"]:
        waits.append(turns.max_endpointing_delay_ms / 1000)
    return max(waits)


@pytest.mark.parametrize(
    ("preset", "detection", "least", "most"),
    [
        ("Fast", None, 8, 8),
        ("Balanced", None, 8, 8),
        ("Balanced", "vad", 8, 8),
        ("Thorough", None, 0, 0),
        # Two: "Can I come in on", "I was wondering if".
        (None, "semantic", 0, 3),
        ("Fast", "semantic", 0, 3),
        ("Thorough", "semantic", 0, 3),
    ],
)
async def test_pauses_taken_for_the_end_of_a_turn(
    model: Model, preset: str | None, detection: str | None, least: int, most: int
) -> None:
    config = configured(preset, detection)
    cut = [line for line in PAUSES if await patience(config, model, line) < PAUSE]
    print(f"{preset}, {detection}: {len(cut)} of {len(PAUSES)} cut: {cut}")
    assert least <= len(cut) <= most, cut


async def test_most_ends_of_turns_are_known(model: Model) -> None:
    """Of 12 three are taken for pauses and wait for the longer delay: ends of sentences that had a pause."""
    missed = [line for line in ENDS if await model.judge(line) < LOCAL_LANGUAGES["en"]]
    print(f"{len(missed)} of {len(ENDS)} ends taken for pauses: {missed}")
    assert len(missed) <= 4
    assert not set(missed) & set(WHOLE)


@pytest.mark.parametrize(
    ("preset", "detection", "seconds"),
    [
        ("Fast", None, 0.4),
        ("Balanced", None, 0.5),
        ("Thorough", None, 1.2),
        ("Fast", "semantic", 0.3),
        (None, "semantic", 0.3),
        ("Thorough", "semantic", 0.6),
    ],
)
async def test_how_long_a_caller_who_has_finished_waits(
    model: Model, preset: str | None, detection: str | None, seconds: float
) -> None:
    assert await patience(configured(preset, detection), model, WHOLE[0]) == seconds
