"""Finds where speech begins and ends in arriving sound, in the sound's own time and never by the clock."""

from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np

from .audio import Samples, level_dbfs

FRAME_SECONDS = 0.01
_QUIETEST_DBFS = -55.0
_BELOW_PEAK_DB = 35.0  # weaker than this beside the loudest part of the speech is a pause
_ABOVE_NOISE_DB = 8.0
_NOISE_FRAMES = 200  # two seconds; a steady noise longer than this is no speech
_ONSET_FRAMES = 3  # a click is not speech


class Mark(Enum):
    """What a frame of sound brought."""

    STARTED = "started"
    ENDED = "ended"


@dataclass(frozen=True)
class Boundary:
    """A beginning or an end of speech, in seconds since the stream began."""

    mark: Mark
    at: float


class Endpointer:
    """Follows a stream; `endpointing` seconds of silence after speech end it (none: it ends only when told)."""

    def __init__(self, rate: int, endpointing: float | None) -> None:
        self._frame = round(rate * FRAME_SECONDS)
        self._endpointing = endpointing
        self._rest = np.zeros(0, dtype=np.float32)
        self._recent: deque[float] = deque(maxlen=_NOISE_FRAMES)
        self._onset = 0
        self._peak = -120.0
        self.clock = 0.0
        """Seconds of sound heard."""
        self.speech_start: float | None = None
        self.speech_end = 0.0
        """Where the latest sounding frame ended."""

    def feed(self, samples: Samples) -> list[Boundary]:
        """Take the next sound of the stream."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // self._frame
        self._rest = samples[whole * self._frame :]
        boundaries = []
        noise = float(np.percentile(self._recent, 5)) if len(self._recent) == _NOISE_FRAMES else -120.0
        for index in range(whole):
            level = level_dbfs(samples[index * self._frame : (index + 1) * self._frame])
            boundaries += self._hear(level, noise)
        return boundaries

    def _hear(self, level: float, noise: float) -> list[Boundary]:
        self.clock += FRAME_SECONDS
        self._recent.append(level)
        sounding = level > max(_QUIETEST_DBFS, self._peak - _BELOW_PEAK_DB, noise + _ABOVE_NOISE_DB)
        self._onset = self._onset + 1 if sounding else 0
        if sounding:
            self._peak = max(self._peak, level)
            self.speech_end = self.clock
        if self.speech_start is None:
            if self._onset >= _ONSET_FRAMES:
                self.speech_start = self.clock - self._onset * FRAME_SECONDS
                return [Boundary(Mark.STARTED, self.speech_start)]
            if not sounding and self.clock - self.speech_end > 0.5:
                self._peak = -120.0
            return []
        # The small allowance keeps sums of 10 ms steps from missing the exact duration.
        if self._endpointing is not None and self.clock - self.speech_end >= self._endpointing - 1e-6:
            return [self.finish()]
        return []

    def finish(self) -> Boundary:
        """End the speech here, whether or not there was silence."""
        self.speech_start = None
        self._onset = 0
        return Boundary(Mark.ENDED, self.speech_end)
