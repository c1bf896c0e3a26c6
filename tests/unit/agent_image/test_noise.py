"""What is left of noise, and of a tone in it, by WebRTC's suppressor itself."""

import numpy as np
import pytest
from livekit import rtc
from numpy.typing import NDArray

from voice_agent.noise import NoiseSuppressor

RATE = 24000
FRAME = RATE // 20  # as the library's room input gives them


def through(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    suppressor, heard = NoiseSuppressor(), []
    for begin in range(0, len(sound) - FRAME + 1, FRAME):
        pcm = (sound[begin : begin + FRAME] * 32767).astype("<i2").tobytes()
        frame = suppressor._process(rtc.AudioFrame(pcm, RATE, 1, FRAME))
        assert (frame.sample_rate, frame.samples_per_channel) == (RATE, FRAME)
        heard.append(np.frombuffer(bytes(frame.data), dtype="<i2") / 32767)
    suppressor._close()
    return np.concatenate(heard)


def decibels(sound: NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.mean(np.square(sound))))


@pytest.mark.parametrize("level", [0.003, 0.02])
def test_noise_goes(level: float) -> None:
    noise = np.random.default_rng(1).standard_normal(RATE * 4) * level
    heard = through(noise)[RATE * 2 :]
    assert decibels(heard) < decibels(noise) - 8


def test_what_rises_and_falls_as_a_voice_does_stays() -> None:
    time = np.arange(RATE * 6) / RATE
    voice = np.sum([np.sin(2 * np.pi * 140 * n * time) / n for n in range(1, 20)], axis=0) * 0.05
    syllables = (np.sin(2 * np.pi * 3 * time) > 0) * (time > 2)
    noise = np.random.default_rng(1).standard_normal(len(time)) * 0.003
    sounding = syllables.astype(bool)
    heard = through(voice * syllables + noise)
    assert abs(decibels(heard[sounding[: len(heard)]]) - decibels(voice[sounding])) < 3


def test_it_can_be_set_aside() -> None:
    suppressor = NoiseSuppressor()
    assert suppressor.enabled
    suppressor.enabled = False
    assert not suppressor.enabled
