"""Reads the token Secret an app would mount, and keeps its token out of every message."""

import base64
import binascii
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_JWT = re.compile(r"eyJ[\w-]*\.[\w-]*\.?[\w-]*")  # the form of every LiveKit token, whole or cut
_NEEDED = ("token", "room", "identity")


class SecretError(ValueError):
    """The Secret lacks something a caller needs."""


@dataclass(frozen=True)
class CallerSecret:
    """What a caller knows: where to call, as whom, and the right to."""

    url: str
    room: str
    identity: str
    token: str = field(repr=False)

    @classmethod
    def of(cls, secret: Mapping[str, str], url_key: str = "url") -> "CallerSecret":
        """Take decoded Secret data; `url_key` chooses between `url` (clients) and `internalUrl` (pods)."""
        missing = [key for key in (url_key, *_NEEDED) if not secret.get(key)]
        if missing:
            raise SecretError(
                f"the Secret has no {', '.join(missing)} (it has {', '.join(sorted(secret)) or 'nothing'})"
            )
        return cls(secret[url_key], secret["room"], secret["identity"], secret["token"])

    def redact(self, text: str) -> str:
        """Take the token out of a text; the SDK's errors echo it."""
        return redact(text.replace(self.token, "<token>"))


def redact(text: str) -> str:
    """Take anything that looks like a token out of a text."""
    return _JWT.sub("<token>", text)


def decode(document: str) -> dict[str, str]:
    """Read Secret data from JSON: a whole Secret, its base64 `data`, or the decoded keys and values."""
    try:
        content = json.loads(document)
    except json.JSONDecodeError as error:
        raise SecretError(f"the Secret is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise SecretError("the Secret is no JSON object")
    if isinstance(content.get("stringData"), dict):
        return _strings(content["stringData"])
    if isinstance(content.get("data"), dict):
        return _decoded(content["data"])
    plain = _strings(content)
    # A URL contains ':', which base64 never does.
    return plain if ":" in plain.get("url", ":") else _decoded(plain)


def _strings(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _decoded(values: Mapping[str, Any]) -> dict[str, str]:
    try:
        return {key: base64.b64decode(value, validate=True).decode() for key, value in _strings(values).items()}
    except (binascii.Error, UnicodeDecodeError):
        raise SecretError("the Secret's data is not base64") from None


class RedactTokens(logging.Filter):
    """Keeps tokens out of log records; the SDK logs the URL it connects to, token included."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if _JWT.search(message):
            record.msg, record.args = redact(message), ()
        return True
