"""JSON logs in which every line names the object it speaks of, and no line holds a token."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

from pythonjsonlogger.json import JsonFormatter

# A JSON Web Token: SDKs echo it in the message of a refused join.
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}")


class RedactingFormatter(JsonFormatter):
    """A JSON formatter that removes tokens from whatever reaches it, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        return _JWT.sub("[token]", super().format(record))


class ObjectLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds the reference of one object to every line."""

    def __init__(self, kind: str, namespace: str, name: str) -> None:
        super().__init__(logging.getLogger("livekit_operator"), {})
        self._object = {"kind": kind, "namespace": namespace, "name": name}

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Return the message with the object's reference among the extra fields."""
        return msg, {**kwargs, "extra": {**kwargs.get("extra", {}), "object": self._object}}


def configure(level: str) -> None:
    """Send all logs of the process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        RedactingFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # One line for each request or access is noise beside our own metrics.
    for noisy in ("aiohttp.access", "kopf.activities", "kopf._core.engines.activities"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
