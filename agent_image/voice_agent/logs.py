"""One JSON object per log line, with every secret masked.

Masking works on the finished line, so it also covers tracebacks, extra fields and what job processes
send over (the library hands their records to the worker's handlers).
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from livekit.agents.cli.log import JsonFormatter, setup_logging

MASK = "[redacted]"
_SECRET_SHAPES = (
    # JWTs: the LiveKit SDK repeats the whole join URL, token included, when the server answers 401
    re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"),
    re.compile(r"(?i)(?<=bearer )[^\s'\",}]+|(?<=token )[A-Za-z0-9._~+/-]{16,}"),
    re.compile(r"(?i)(?<=access_token=)[^\s&'\"]+"),
    # OpenAI-style keys, also half masked as in its own 401 messages
    re.compile(r"\bsk-[\w*-]{6,}"),
    # the body of a provider's answer, which the library appends to its errors
    re.compile(r"(?<=\bbody=).+?(?=, retryable=|$)", re.MULTILINE),
)


class Redactor:
    """Replaces known secrets, and whatever looks like one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # longest first: a secret may contain another one
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        for shape in _SECRET_SHAPES:
            text = shape.sub(MASK, text)
        return text

    def value(self, value: Any) -> Any:
        """The same, through the lists and objects of a JSON value."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(key): self.value(item) for key, item in value.items()}
            case list():
                return [self.value(item) for item in value]
            case _:
                return value


class RedactingFormatter(logging.Formatter):
    """Formats with the library's JSON formatter, then masks."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._json = JsonFormatter()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        line = json.loads(self._json.format(record))
        return json.dumps(self._redactor.value(line), ensure_ascii=False)


def configure(level: str, secrets: Iterable[str]) -> None:
    """Send all logging, and an uncaught exception, to stdout as redacted JSON."""
    setup_logging(level, devmode=False, console=False)
    formatter = RedactingFormatter(Redactor(secrets))
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
    logging.captureWarnings(True)

    def log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        logging.getLogger(__package__).critical("uncaught exception", exc_info=(kind, error, trace))

    sys.excepthook = log_uncaught
