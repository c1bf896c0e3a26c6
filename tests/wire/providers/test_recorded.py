"""The recorded lines: they are there, and what a call makes of them is still understood."""

import numpy as np
import pytest
from livekit.agents.inference.eot.languages import LOCAL_LANGUAGES
from livekit.local_inference import EOT, EOT_MAX_SAMPLES

from tests.providers.audio import resample, to_pcm16
from tests.providers.recognition import RATE, Recognised, Recogniser
from tests.providers.recorded import HALVES, QUESTION, WHOLE, recorded
from tests.providers.script import ANSWERS, CALLER_LINES
from tests.providers.speech import CALLER_VOICE, prepare
from tests.wire.providers.opus import through_opus


@pytest.mark.parametrize("line", [*WHOLE, *(half for halves in HALVES for half in halves)])
def test_each_line_is_speech_from_its_first_sound_to_its_last(line: str) -> None:
    found = recorded(line, 48000)
    assert 0.5 < found.seconds < 3
    assert " ".join(word.text for word in found.words) == line
    assert min(np.abs(found.samples[:1440]).max(), np.abs(found.samples[-1440:]).max()) > 0.005


def test_the_question_is_understood_and_sounds_finished_after_a_call() -> None:
    """What the benchmarks ask: the stand-ins have to answer, and the turn model must not take it for a pause."""
    assert QUESTION in ANSWERS
    sound = resample(through_opus(np.pad(recorded(QUESTION, 48000).samples, 4800)), 48000, RATE)
    last = int(np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())[-1])
    heard = Recogniser((*prepare(CALLER_LINES, RATE, CALLER_VOICE), recorded(QUESTION, RATE))).recognise(
        sound[:last], RATE
    )
    assert isinstance(heard, Recognised)
    assert (heard.text, heard.complete) == (QUESTION, True)
    for silence in (0.2, 0.25, 0.3):
        until = np.concatenate([sound[:last], np.zeros(round(silence * RATE), dtype=np.float32)])[-EOT_MAX_SAMPLES:]
        judged = EOT().predict(np.frombuffer(to_pcm16(until), dtype="<i2").copy())
        assert judged >= LOCAL_LANGUAGES["en"], silence
