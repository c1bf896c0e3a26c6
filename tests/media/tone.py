"""Tones: making one, and knowing when it is heard."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tests.providers.audio import Samples

from .report import Gap

WINDOW = 0.02
"""Seconds that are judged at once; long enough to tell tones apart that differ by 150 Hz."""

_LEVEL = 0.3
_AUDIBLE = 10 ** (-40 / 20)  # amplitude of a tone 40 dB below full scale
_SHARE = 0.5  # of the sound's power that must be the tone's
_REANCHOR = 0.25  # seconds that sound may come late without a gap: it waited, nothing is missing
_JOINED = 0.03  # seconds; one misjudged window is no gap
_PRESENT = 0.15  # seconds since the last tone in which it counts as still sounding: frames are under way


def tone(hertz: int, rate: int, seconds: int) -> Samples:
    """Return a tone that goes on without a seam when it is played again."""
    # A cosine of whole cycles: its edges are loud, so a microphone that trims silence takes nothing off it.
    return (_LEVEL * np.cos(2 * np.pi * hertz * np.arange(rate * seconds) / rate)).astype(np.float32)


def sounds(samples: Samples, rate: int, hertz: int) -> NDArray[np.bool_]:
    """Return for each whole window of the samples whether the tone is what sounds in it."""
    window, reference = _reference(rate, hertz)
    parts = samples[: len(samples) // len(window) * len(window)].reshape(-1, len(window))
    amplitude = 2 * np.abs(parts @ reference) / window.sum()
    power = np.square(parts) @ window / window.sum()
    found: NDArray[np.bool_] = (amplitude > _AUDIBLE) & (amplitude**2 / 2 > _SHARE * power)
    return found


@lru_cache(maxsize=8)
def _reference(rate: int, hertz: int) -> tuple[Samples, NDArray[np.complex64]]:
    length = round(rate * WINDOW)
    window = np.hanning(length).astype(np.float32)
    turns = np.exp(-2j * np.pi * hertz * np.arange(length) / rate)
    return window, (window * turns).astype(np.complex64)


class Hearing:
    """Keeps account of when a tone sounded, whichever track it came by; moments are monotonic seconds."""

    def __init__(self, hertz: int, rate: int) -> None:
        self._hertz = hertz
        self._rate = rate
        self._ends: dict[str, float] = {}
        self._last: float | None = None
        self.first: float | None = None
        self.gaps: list[Gap] = []

    def take(self, track: str, samples: Samples, now: float) -> None:
        """Take the next samples of a track, which arrived now."""
        # By the count of samples, not by their arrival: a busy machine takes them late and in bursts, and loses none.
        end = min(self._ends.get(track, now) + len(samples) / self._rate, now)
        if now - end > _REANCHOR:
            end = now
        self._ends[track] = end
        begin = end - len(samples) / self._rate
        for index in np.flatnonzero(sounds(samples, self._rate, self._hertz)):
            self._sounded(begin + int(index) * WINDOW)

    def _sounded(self, at: float) -> None:
        if self._last is None:
            self.first = at
        elif at - self._last > _JOINED:
            self.gaps.append(Gap(self._last, at))
        self._last = max(self._last or at, at + WINDOW)

    def sounding(self, now: float) -> bool:
        """Whether the tone sounds now."""
        return self._last is not None and now - self._last < _PRESENT

    def all_gaps(self, now: float) -> tuple[Gap, ...]:
        """Return every gap since the tone was first heard, one that lasts until now included."""
        if self._last is None or self.sounding(now):
            return tuple(self.gaps)
        return (*self.gaps, Gap(self._last, now))
