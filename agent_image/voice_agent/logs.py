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
# What may be a URL, where its host ends, and a port.
_RUN = re.compile(r"""[^\s"<>]+""")
_END_OF_HOST = re.compile(r"[/?#]")
_PORT = re.compile(r":\d{1,5}\W*")


def without_logins(text: str) -> str:
    """A text without what URLs have for logging in: `redis://[redacted]@host`."""
    return _RUN.sub(lambda run: _masked(run[0], run.end() == len(text)), text) if "://" in text else text


def _masked(run: str, is_last: bool) -> str:
    first, *rest = run.split("://")
    last = len(rest) - 1
    return "://".join([first, *(_without_login(part, is_last and at == last) for at, part in enumerate(rest))])


def _without_login(part: str, is_last: bool) -> str:
    """What follows a scheme. Passwords that nobody has escaped may hold all that ends a host, and what a text ends with
    may have been cut."""
    host = _END_OF_HOST.split(part, maxsplit=1)[0]
    if "@" in host:
        return f"{MASK}@{host.rpartition('@')[2]}{part[len(host) :]}"
    _, colon, behind = host.partition(":")
    if not colon or "[" in host or _PORT.fullmatch(f":{behind}"):
        return part
    if "@" in part:
        return f"{MASK}@{part.rpartition('@')[2]}"
    return MASK if is_last else part


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
        return without_logins(text)

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
