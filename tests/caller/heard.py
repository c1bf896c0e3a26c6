"""Recognises the agent's words in the recorded sound, with the stand-ins' own matcher and no side channel."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tests.providers.audio import Samples
from tests.providers.recognition import RATE as REFERENCE_RATE
from tests.providers.recognition import Recognised, Recogniser
from tests.providers.script import AGENT_LINES, sentences
from tests.providers.speech import AGENT_VOICE, Utterance, Word, speak

_EDGE = 0.02  # seconds of sound kept around each stretch


@dataclass(frozen=True)
class Line:
    """Words recognised in the sound; `complete` when a known utterance was heard to its end."""

    start: float
    end: float
    text: str
    complete: bool


@dataclass
class _Found:
    """A known line as far as it has been heard."""

    start: float
    end: float
    line: str
    first: int
    of: int
    words: list[str]


def recognise(
    samples: Samples, rate: int, stretches: Iterable[tuple[float, float]], lines: Sequence[str] = AGENT_LINES
) -> tuple[Line, ...]:
    """Recognise each stretch (seconds in the samples) and join those that continue one line."""
    recogniser = _recogniser(tuple(dict.fromkeys(lines)))
    found: list[_Found] = []
    for start, end in stretches:
        sound = samples[max(0, round((start - _EDGE) * rate)) : round((end + _EDGE) * rate)]
        result = recogniser.recognise(sound, rate)
        if not isinstance(result, Recognised):
            continue
        words = [word.text for word in result.words]
        latest = found[-1] if found else None
        if latest and latest.line == result.line and latest.first + len(latest.words) == result.first:
            latest.words += words
            latest.end = end
        else:
            found.append(_Found(start, end, result.line, result.first, result.of, words))
    return tuple(Line(item.start, item.end, " ".join(item.words), len(item.words) == item.of) for item in found)


@lru_cache(maxsize=8)
def _recogniser(lines: tuple[str, ...]) -> Recogniser:
    return Recogniser(_as_spoken(line) for line in lines)


def _as_spoken(line: str) -> Utterance:
    """A line as speech synthesis gives it: sentence after sentence."""
    parts = [speak(sentence, REFERENCE_RATE, AGENT_VOICE) for sentence in sentences(line)]
    words: list[Word] = []
    at = 0.0
    for part in parts:
        words += [Word(word.text, word.start + at, word.end + at) for word in part.words]
        at += part.seconds
    return Utterance(line, REFERENCE_RATE, np.concatenate([part.samples for part in parts]), tuple(words))
