"""Callers' lines in a neural voice, recorded: in espeak-ng's speech the end of a turn sounds like a pause.

Made with piper-tts 1.8 and its voice en_US-joe-medium, whose speaker gave his speech to the public domain (CC0); a half
of a line was spoken with a comma at its end, and the silence around each was cut off. 16 kHz, one channel.
"""

import re
import wave
from functools import lru_cache
from pathlib import Path

from .audio import from_pcm16, resample
from .speech import Utterance, written

_FOLDER = Path(__file__).parent / "recordings"

QUESTION = "How much does a cleaning cost?"
WHOLE: tuple[str, ...] = (
    QUESTION,
    "What are your opening hours?",
    "Thank you very much.",
    "Can you help me with my order?",
)
HALVES: tuple[tuple[str, str], ...] = (
    ("I would like to book a table for", "two people on Friday evening."),
    ("My telephone number is five five five", "one two three four."),
    ("Can I come in on", "Tuesday morning at nine?"),
    ("I was wondering if", "you have a free slot today."),
    ("The reason for my call is that", "I have lost my card."),
    ("I need an appointment on", "Monday, if that is possible."),
    ("Well, I think it would be best to", "move it to next week."),
    ("Please send the letter to my", "new address in the city."),
)
"""Lines whose speaker stops to think in the middle."""


@lru_cache(maxsize=64)
def recorded(line: str, rate: int) -> Utterance:
    """Return a recorded line; raises FileNotFoundError for one that is not."""
    name = "-".join(re.findall(r"[a-z]+", line.lower()))
    with wave.open(str(_FOLDER / f"{name}.wav")) as file:
        samples = resample(from_pcm16(file.readframes(file.getnframes())), file.getframerate(), rate)
    # When each word begins is not known: all are as long as they are written.
    return Utterance(line, rate, samples, tuple(written(line, 0.0, len(samples) / rate)))
