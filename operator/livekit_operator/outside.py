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
_MASKED = "[redacted]"
# What may be a URL, and where its host ends.
_RUN = re.compile(r"""[^\s"<>]+""")
_END_OF_HOST = re.compile(r"[/?#]")
_PORT = re.compile(r":\d{1,5}\W*")
# What is looked at of a text: a token longer than this is cut, and so cannot be used.
_WINDOW = 4
_YEARS = range(2000, 2200)


def masked(text: str) -> str:
    """Return a text without tokens, and without what URLs have for logging in: `redis://[redacted]@host`."""
    text = TOKEN.sub(_REPLACED, text)
    if "://" not in text:
        return text
    return _RUN.sub(lambda run: _without_logins(run[0], run.end() == len(text)), text)


def _without_logins(run: str, is_last: bool) -> str:
    first, *rest = run.split("://")
    last = len(rest) - 1
    return "://".join([first, *(_without_login(part, is_last and at == last) for at, part in enumerate(rest))])


def _without_login(part: str, is_last: bool) -> str:
    """Return what follows a scheme. Passwords that nobody has escaped may hold all that ends a host, and what a text
    ends with may have been cut."""
    host = _END_OF_HOST.split(part, maxsplit=1)[0]
    if "@" in host:
        return f"{_MASKED}@{host.rpartition('@')[2]}{part[len(host) :]}"
    _, colon, behind = host.partition(":")
    if not colon or "[" in host or _PORT.fullmatch(f":{behind}"):
        return part
    if "@" in part:
        return f"{_MASKED}@{part.rpartition('@')[2]}"
    return _MASKED if is_last else part


def said(text: object, most: int = MOST_TEXT) -> str:
    """Return a text in at most so many characters, on one line, printable, without tokens and passwords of URLs."""
    if not isinstance(text, str):
        try:
            text = str(text)
        except (ValueError, RecursionError):  # an int of thousands of digits, a value deeper than the stack
            return type(text).__name__
    short = len(text) <= most
    if "eyJ" in text or "://" in text:
        text = masked(text[: _WINDOW * most])
    if short and text.isprintable():
        return text if len(text) <= most else f"{text[: most - 1]}…"
    text = text[: _WINDOW * most]
    if not text.isprintable():
        # Line ends, lone surrogates, and marks that turn the direction of writing.
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    text = " ".join(text.split())
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
