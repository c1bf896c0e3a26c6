"""The recording's timeline and the detection of sound, without a network."""

import numpy as np
import pytest

from tests.caller.hearing import RATE, Ear, Recording
from tests.caller.microphone import trimmed
from tests.providers.audio import Samples

_FRAME = RATE // 20


def _tone(seconds: float) -> Samples:
    return np.asarray(0.3 * np.sin(np.arange(round(seconds * RATE)) * 0.1), dtype=np.float32)


def _silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


def _hear(ear: Ear, sound: Samples, start: float) -> None:
    for begin in range(0, len(sound) - _FRAME + 1, _FRAME):
        ear._heard(sound[begin : begin + _FRAME], start + (begin + _FRAME) / RATE)


def test_sounds_have_exact_beginnings_and_ends() -> None:
    ear = Ear(lambda: None)
    _hear(ear, np.concatenate([_silence(0.52), _tone(1.03), _silence(0.45), _tone(0.5), _silence(0.5)]), 100.0)
    edges = [edge for sound in ear.sounds for edge in (sound.start, sound.end)]
    assert edges == pytest.approx([100.52, 101.55, 102.0, 102.5], abs=0.011)
    assert ear.first_sound_after(101.6) == pytest.approx(102.0, abs=0.011)
    assert ear.first_sound_after(102.6) is None


def test_short_pauses_are_inside_speech() -> None:
    ear = Ear(lambda: None)
    _hear(ear, np.concatenate([_tone(0.5), _silence(0.2), _tone(0.5)]), 0.0)
    assert len(ear.sounds) == 1


def test_frames_that_jitter_are_recorded_without_seams() -> None:
    recording, tone = Recording(), _tone(1.0)
    for index, begin in enumerate(range(0, len(tone), _FRAME)):
        recording.add(10.0 + begin / RATE + (0.01 if index % 2 else -0.01), tone[begin : begin + _FRAME])
    assert len(recording.pieces) == 1
    assert np.allclose(recording.mixed(10.0 - 0.01, 11.0 - 0.01), tone, atol=1e-4)


def test_a_stall_leaves_its_gap_in_the_recording() -> None:
    recording, tone = Recording(), _tone(0.5)
    recording.add(1.0, tone)
    recording.add(3.0, tone)
    mixed = recording.mixed(0.0, 4.0)
    assert not mixed[: RATE - 1].any()
    assert mixed[RATE : RATE + 1000].any()
    assert not mixed[2 * RATE : 3 * RATE - 1].any()
    assert mixed[3 * RATE : 3 * RATE + 1000].any()


def test_an_utterance_loses_its_silent_edges() -> None:
    tone = _tone(0.5)
    assert len(trimmed(np.concatenate([_silence(0.3), tone, _silence(0.4)]))) == pytest.approx(len(tone), abs=20)
    assert len(trimmed(_silence(1))) == 0
