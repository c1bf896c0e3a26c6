"""What the recogniser hears, and above all what it refuses to hear."""

import numpy as np
import pytest

from tests.providers.audio import Samples, resample
from tests.providers.recognition import RATE, Recognised, Recogniser, Unrecognised
from tests.providers.script import CALLER_LINES
from tests.providers.speech import CALLER_VOICE, prepare, speak
from tests.wire.providers.opus import through_opus

_RNG = np.random.default_rng(42)


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser(prepare(CALLER_LINES, RATE, CALLER_VOICE))


def _called(line: str, gain: float = 0.3) -> Samples:
    """The line as an agent gets it: spoken afresh, quieter, through Opus, at the agent's rate, without its silence."""
    speak.cache_clear()
    sound = np.pad(speak(line, 48000, CALLER_VOICE).samples * gain, 4800)
    return _trimmed(resample(through_opus(sound), 48000, RATE))


def _trimmed(samples: Samples) -> Samples:
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    return samples[loud[0] : loud[-1]]


@pytest.mark.parametrize("line", CALLER_LINES)
@pytest.mark.parametrize("gain", [1.0, 0.05])
def test_every_line_is_recognised_through_opus(recogniser: Recogniser, line: str, gain: float) -> None:
    found = recogniser.recognise(_called(line, gain), RATE)
    assert isinstance(found, Recognised), found
    assert (found.text, found.complete) == (line, True)


@pytest.mark.parametrize("line", CALLER_LINES)
@pytest.mark.parametrize("stretch", [0.97, 1.03])
def test_a_clock_that_runs_off_does_not_matter(recogniser: Recogniser, line: str, stretch: float) -> None:
    found = recogniser.recognise(resample(_called(line), RATE, round(RATE * stretch / 100) * 100), RATE)
    assert isinstance(found, Recognised), found
    assert found.text == line


@pytest.mark.parametrize("line", [line for line in CALLER_LINES if len(line.split()) > 3])
def test_half_a_line_gives_half_its_words(recogniser: Recogniser, line: str) -> None:
    sound = _called(line)
    found = recogniser.recognise(sound[: len(sound) // 2], RATE)
    if isinstance(found, Recognised):
        assert not found.complete
        assert line.startswith(found.text)
        assert found.text != line


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(np.zeros(RATE, dtype=np.float32), id="silence"),
        pytest.param(_RNG.normal(0, 0.1, 2 * RATE).astype(np.float32), id="white noise"),
        pytest.param(np.cumsum(_RNG.normal(0, 0.001, 2 * RATE)).astype(np.float32), id="brown noise"),
        pytest.param(np.sin(np.arange(RATE) * 0.2).astype(np.float32), id="tone"),
        pytest.param(np.zeros(0, dtype=np.float32), id="nothing"),
    ],
)
def test_noise_is_no_speech(recogniser: Recogniser, sound: Samples) -> None:
    assert isinstance(recogniser.recognise(sound, RATE), Unrecognised)


@pytest.mark.parametrize(
    "text",
    [
        "The weather is lovely in the mountains today.",
        "My brother sells used bicycles online.",
        "What are your favourite songs?",
        "Do you treat adults?",
        "How much does an apple cost?",
        "Hello.",
        "Thank you very much.",
    ],
)
def test_unknown_speech_is_not_guessed(recogniser: Recogniser, text: str) -> None:
    found = recogniser.recognise(_trimmed(speak(text, RATE, CALLER_VOICE).samples), RATE)
    assert isinstance(found, Unrecognised) or not found.complete, found


def test_a_line_backwards_is_not_the_line(recogniser: Recogniser) -> None:
    found = recogniser.recognise(_called(CALLER_LINES[0])[::-1].copy(), RATE)
    assert isinstance(found, Unrecognised)


def test_words_carry_the_times_of_the_sound(recogniser: Recogniser) -> None:
    line = "Can I book an appointment for tomorrow?"
    spoken = speak(line, RATE, CALLER_VOICE)
    found = recogniser.recognise(spoken.samples, RATE)
    assert isinstance(found, Recognised)
    assert [word.text for word in found.words] == line.split()
    for heard, known in zip(found.words, spoken.words, strict=True):
        assert heard.start == pytest.approx(known.start, abs=0.05)
