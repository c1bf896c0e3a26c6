"""JSON logs in which every line names the object it speaks of, and no line holds a token or a password of a URL."""

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

from livekit_operator.outside import masked

# A line holds no more of a message, or of a traceback, whoever had words in it.
_MOST_LETTERS = 16384


class JsonFormatter(logging.Formatter):
    """One line of JSON for each record. Tokens and passwords of URLs are removed from all of it, tracebacks included.

    Only these fields: kopf hangs its whole settings and resources onto its records.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked(record.getMessage())[:_MOST_LETTERS],
        }
        if reference := getattr(record, "object", None) or getattr(record, "k8s_ref", None):
            fields["object"] = reference
        if record.exc_info:
            fields["exception"] = masked(self.formatException(record.exc_info))[-_MOST_LETTERS:]
        return masked(json.dumps(fields, ensure_ascii=False, default=str))


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
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # One line for each request or access is noise beside our own metrics.
    for noisy in ("aiohttp.access", "kopf.activities", "kopf.objects"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
