"""Speaks text with espeak-ng, in process, with the time of every word.

The library is used rather than the command, because only it tells when each word begins, and because a sentence then
costs a few milliseconds instead of a process.
"""

import ctypes
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .audio import Samples, resample

AGENT_VOICE = "en-us"
CALLER_VOICE = "en-us+f3"
"""Callers speak with another voice, so that an agent hearing itself is not taken for its caller."""

_SYNCHRONOUS = 2  # espeak_ng AUDIO_OUTPUT_SYNCHRONOUS: espeak_Synth returns when the sound is complete
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: missing voice data is an error code, not the end of the process
_UTF8 = 1
_POS_CHARACTER = 1
_EVENT_END_OF_LIST, _EVENT_WORD = 0, 1


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Word:
    """One word and where it lies in the sound, in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Utterance:
    """Sound of one piece of text, with its words."""

    text: str
    rate: int
    samples: Samples
    words: tuple[Word, ...]

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


class SpeechUnavailableError(RuntimeError):
    """espeak-ng is not installed here, or has no voices."""


class _Engine:
    """The one espeak-ng of this process: it keeps global state, so one thread uses it at a time."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as error:
            raise SpeechUnavailableError("espeak-ng is not installed (package espeak-ng)") from error
        self.rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _DONT_EXIT))
        if self.rate <= 0:
            raise SpeechUnavailableError(f"espeak-ng does not start (espeak_Initialize gave {self.rate})")
        self._lock = threading.Lock()
        self._sound: list[Samples] = []
        self._marks: list[tuple[int, int, float]] = []
        self._callback = _Callback(self._collect)  # kept: ctypes does not hold a reference of its own
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, wav: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes._Pointer[_Event]") -> int:
        if wav and count > 0:
            self._sound.append(np.ctypeslib.as_array(wav, shape=(count,)).astype(np.float32) / 32768.0)
        index = 0
        while events[index].type != _EVENT_END_OF_LIST:
            event = events[index]
            if event.type == _EVENT_WORD:
                self._marks.append((event.text_position - 1, event.length, event.audio_position / 1000))
            index += 1
        return 0

    def speak(self, text: str, voice: str) -> tuple[Samples, list[tuple[int, int, float]]]:
        """Return the sound of the text and (position, length, seconds) of every word in it."""
        with self._lock:
            self._sound, self._marks = [], []
            if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise SpeechUnavailableError(f"espeak-ng has no voice {voice!r}")
            data = text.encode() + b"\0"
            status = self._library.espeak_Synth(data, len(data), 0, _POS_CHARACTER, 0, _UTF8, None, None)
            if status != 0:
                raise SpeechUnavailableError(f"espeak-ng cannot speak {text!r} (espeak_Synth gave {status})")
            sound = np.concatenate(self._sound) if self._sound else np.zeros(0, dtype=np.float32)
            return sound, self._marks


_starting = threading.Lock()


def _engine() -> _Engine:
    with _starting:  # the cache alone lets two threads in at once, and espeak-ng has one global state
        return _only_engine()


@lru_cache(maxsize=1)
def _only_engine() -> _Engine:
    return _Engine()


@lru_cache(maxsize=512)
def speak(text: str, rate: int, voice: str = AGENT_VOICE) -> Utterance:
    """Speak a text; equal texts are spoken once and remembered."""
    engine = _engine()
    sound, marks = engine.speak(text, voice)
    seconds = len(sound) / engine.rate
    # Spelled words come with the text's own punctuation, as a provider with punctuate=true writes them.
    starts = {_word_start(text, position): at for position, _, at in reversed(marks)}
    positions = sorted(starts)
    words: list[Word] = []
    for index, position in enumerate(positions):
        following = positions[index + 1] if index + 1 < len(positions) else len(text)
        end = starts.get(following, seconds)
        words += written(text[position:following], starts[position], end)
    return Utterance(text, rate, resample(sound, engine.rate, rate), tuple(words))


def written(text: str, start: float, end: float) -> list[Word]:
    """The words of a piece that share its time by their letters; espeak-ng speaks some in one breath ("of the")."""
    words = text.split()
    letters = sum(map(len, words))
    spoken = []
    for word in words:
        until = start + (end - start) * len(word) / letters
        spoken.append(Word(word, start, until))
        letters, start = letters - len(word), until
    return spoken


def _word_start(text: str, position: int) -> int:
    """The beginning of the written word a mark lies in (espeak-ng marks the parts of "twenty-four" apart)."""
    position = min(max(position, 0), len(text) - 1)
    while position > 0 and not text[position - 1].isspace():
        position -= 1
    return position


def prepare(texts: Iterable[str], rate: int, voice: str) -> list[Utterance]:
    """Speak many texts ahead of their use, so that none is waited for later."""
    return [speak(text, rate, voice) for text in texts]
