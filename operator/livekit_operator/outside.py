"""What comes from outside, made fit to be kept and shown: texts, counts and moments.

Whoever runs a server or a pod chooses what it says; the kubelet and the API server quote such words. So a text is short
and printable before it reaches a condition, an Event or a log, a count is one that a status can hold, and a moment one
that can be reckoned with.
"""

import math
import re
from datetime import UTC, datetime
from typing import Any

# Of one text that somebody else wrote; of a whole message, in which it is quoted.
MOST_TEXT = 300
MOST_MESSAGE = 2000
# More than any server has of anything, and far less than an int32 of a CRD or a float takes.
MOST_COUNT = 1_000_000

# A JSON Web Token: SDKs echo it in the message of a refused join.
TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}")
_REPLACED = "[token]"
# What is looked at of a text: a token longer than this is cut, and so cannot be used.
_WINDOW = 4
_YEARS = range(2000, 2200)


def said(text: object, most: int = MOST_TEXT) -> str:
    """Return a text in at most so many characters, on one line, printable, and without tokens."""
    if not isinstance(text, str):
        try:
            text = str(text)
        except (ValueError, RecursionError):  # an int of thousands of digits, a value deeper than the stack
            return type(text).__name__
    if len(text) <= most and text.isprintable() and "eyJ" not in text:
        return text
    text = text[: _WINDOW * most]
    if not text.isprintable():
        # Line ends, lone surrogates, and marks that turn the direction of writing.
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    text = " ".join(TOKEN.sub(_REPLACED, text).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def count(value: Any, most: int = MOST_COUNT) -> int:
    """Return a number as a count from 0 to `most`; raises TypeError for what is no number, ValueError for NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{said(value, 32)} is no number")
    if isinstance(value, float) and math.isnan(value):
        raise ValueError("NaN is no count")
    return int(min(max(value, 0), most))


def moment(value: Any) -> datetime | None:
    """Return the moment of an RFC 3339 text in UTC, None for anything else."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is None:
            return None
        found = found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if found.year in _YEARS else None
