"""Recognises known utterances in sound, and nothing else.

The sound is compared with every known line at once: spectra of 16 ms steps, aligned by a search that may begin and
end anywhere in a line (dynamic time warping), so that loudness, coding, resampling and small clock offsets do not
matter, and half a line gives half its words. What fits no line well, or two different ones equally, gives no words.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .audio import Samples, resample
from .speech import Utterance, Word

RATE = 16000
_Number = TypeVar("_Number", np.float32, np.int32)
_WINDOW, _HOP = 512, 256
STEP = _HOP / RATE
"""Seconds between two spectra."""

_BANDS = 24
_DYNAMIC_RANGE_DB = 30.0  # what is further below the loudest part counts as silence
_SILENCE_WEIGHT = 6.0  # dB; makes two silences alike, and silence unlike speech
_WARP_PENALTY = 0.04  # for each step that stretches or shortens the known line

MAX_DISTANCE = 0.12
"""Mean spectral distance (0 alike, 1 unrelated) above which the sound is not taken for the line."""
MIN_MARGIN = 0.04
"""How much better than the next line with other words the best one must be."""
MIN_SECONDS = 0.3
"""Shorter sounds hold too little to tell one line from another."""
_STRETCH = 0.15  # spans whose length differs by more than this part are other words by chance
_WORD_COVERED = 0.6  # part of a word that must have been heard for it to count


@dataclass(frozen=True)
class Recognised:
    """The words found in a sound: `line` is the known text they belong to, the words carry the sound's own times."""

    line: str
    words: tuple[Word, ...]
    first: int
    """Index in the line of the first word found."""
    of: int
    """How many words the line has."""
    distance: float

    @property
    def complete(self) -> bool:
        """Every word of the line was heard."""
        return len(self.words) == self.of

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True)
class Unrecognised:
    """Why no words were given: the nearest line, and how near it was."""

    reason: str
    nearest: str = ""
    distance: float = 1.0


@dataclass(frozen=True)
class _Line:
    text: str
    words: tuple[Word, ...]
    begin: int
    end: int


class Recogniser:
    """Holds the spectra of the known lines."""

    def __init__(self, utterances: Iterable[Utterance]) -> None:
        self._lines: list[_Line] = []
        blocks: list[NDArray[np.float32]] = []
        at = 0
        for utterance in utterances:
            spectra = _spectra(resample(utterance.samples, utterance.rate, RATE))
            self._lines.append(_Line(utterance.text, utterance.words, at, at + len(spectra)))
            blocks.append(spectra)
            at += len(spectra)
        self._known = np.concatenate(blocks) if blocks else np.zeros((0, _BANDS + 1), dtype=np.float32)
        # A line is entered at its first two steps only from outside: no path runs from one line into the next.
        self._first = np.array([line.begin for line in self._lines], dtype=np.int64)

    def recognise(self, samples: Samples, rate: int) -> Recognised | Unrecognised:
        """Name the line, or the part of a line, that was spoken; the sound should begin and end with speech."""
        sound = _spectra(resample(samples, rate, RATE))
        if len(sound) * STEP < MIN_SECONDS:
            return Unrecognised("too short")
        if not self._lines:
            return Unrecognised("no known lines")
        cost, origin = self._align(sound)
        found = sorted((self._best(line, cost, origin, len(sound)) for line in self._lines), key=lambda r: r.distance)
        best = found[0]
        if best.distance > MAX_DISTANCE:
            return Unrecognised("unknown sound", best.line, best.distance)
        if not best.words:
            return Unrecognised("no whole word", best.line, best.distance)
        other = next((r for r in found[1:] if _key(r) != _key(best)), None)
        if other is not None and other.distance - best.distance < MIN_MARGIN:
            return Unrecognised(f"between {best.text!r} and {other.text!r}", best.line, best.distance)
        return best

    def _align(self, sound: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Mean cost of the best path ending at each known step, and the known step where that path begins."""
        unlike = np.float32(1.0) - sound @ self._known.T
        cost: NDArray[np.float32] = unlike[0]
        origin = np.arange(len(cost), dtype=np.int32)
        for distances in unlike[1:]:
            stay = cost + np.float32(_WARP_PENALTY)
            step, skip = _shifted(cost, 1, np.inf), _shifted(cost, 2, np.inf) + np.float32(_WARP_PENALTY)
            step[self._first] = np.inf
            skip[self._first] = np.inf
            skip[self._first[self._first + 1 < len(cost)] + 1] = np.inf
            from_step, from_skip = _shifted(origin, 1, 0), _shifted(origin, 2, 0)
            best = np.minimum(step, skip)
            origin = np.where(stay < best, origin, np.where(skip < step, from_skip, from_step))
            cost = np.minimum(stay, best) + distances
        return cost / np.float32(len(sound)), origin

    def _best(self, line: _Line, cost: NDArray[np.float32], origin: NDArray[np.int32], steps: int) -> Recognised:
        """The best span of one line whose length fits the sound."""
        costs, origins = cost[line.begin : line.end], origin[line.begin : line.end]
        spans = np.arange(line.begin, line.end) - origins + 1
        fitting = np.abs(spans / steps - 1.0) <= _STRETCH
        if not fitting.any():
            return Recognised(line.text, (), 0, len(line.words), 1.0)
        end = int(np.argmin(np.where(fitting, costs, np.inf)))
        begin_s = (int(origins[end]) - line.begin) * STEP
        end_s = (end + 1) * STEP
        # The sound was aligned as a whole, so one factor maps the line's times to the sound's.
        scale = steps * STEP / (end_s - begin_s)
        covered = [index for index, word in enumerate(line.words) if _is_covered(word, begin_s, end_s)]
        words = tuple(
            Word(
                line.words[index].text,
                max(0.0, (line.words[index].start - begin_s) * scale),
                min(steps * STEP, (line.words[index].end - begin_s) * scale),
            )
            for index in covered
        )
        first = covered[0] if covered else 0
        return Recognised(line.text, words, first, len(line.words), float(costs[end]))


def _is_covered(word: Word, begin: float, end: float) -> bool:
    """Whether enough of a word lies in the span; a long "word" holds the pause after it, which need not be heard."""
    spoken = min(word.end - word.start, 0.5)
    return min(word.end, end) - max(word.start, begin) >= _WORD_COVERED * spoken


def _key(found: Recognised) -> str:
    return found.text.lower().strip(" .,?!")


def _shifted(values: NDArray[_Number], by: int, fill: float) -> NDArray[_Number]:
    out = np.empty_like(values)
    out[by:] = values[:-by]
    out[:by] = fill
    return out


def _mel_filters() -> NDArray[np.float32]:
    """Triangular bands, evenly spread on the mel scale between 100 and 6000 Hz (a telephone's speech, and some)."""

    low, high = 2595 * np.log10(1 + np.array([100.0, 6000.0]) / 700)
    edges = 700 * (10 ** (np.linspace(float(low), float(high), _BANDS + 2) / 2595) - 1)
    bins = np.arange(_WINDOW // 2 + 1) * RATE / _WINDOW
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre))
    return np.asarray(np.maximum(0.0, triangles), dtype=np.float32)


_FILTERS = _mel_filters()
_HANN = np.hanning(_WINDOW).astype(np.float32)


def _spectra(samples: Samples) -> NDArray[np.float32]:
    """Unit vectors, one a step: the shape of the spectrum regardless of loudness, and a constant for silence."""
    if len(samples) < _WINDOW:
        return np.zeros((0, _BANDS + 1), dtype=np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP] * _HANN
    power = np.abs(np.fft.rfft(frames, axis=1)).astype(np.float32) ** 2
    bands = 10 * np.log10(power @ _FILTERS.T + 1e-10)
    floor = np.percentile(bands.max(axis=1), 95) - _DYNAMIC_RANGE_DB
    bands = np.maximum(bands, floor)
    bands -= bands.mean(axis=1, keepdims=True)
    vectors = np.hstack([bands, np.full((len(bands), 1), _SILENCE_WEIGHT, dtype=np.float32)])
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
