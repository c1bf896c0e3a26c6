"""What the end of an agent's container says: its last words, as the kubelet has them, or that it lacked memory.

The kubelet takes the end of the log of a container that failed and left no message of its own, at most 2 KiB
(terminationMessagePolicy FallbackToLogsOnError). Of a traceback only its last line says anything to whoever reads a
condition; livekit-agents' own log has it inside a line of JSON.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

# As Python ends a traceback: the exception's name, with its module where it is not a builtin one, and what it says.
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Timeout)(?::.*)?")
# Keys of a line of log in JSON that hold a traceback or a message.
_TRACEBACK_KEYS = ("exc_info", "exception", "stack_info")
# Letters of a few words that a program left on purpose.
_MOST_WHOLE = 200
# The kubelet's word, and the runner's of a process that the kernel has killed alone.
OUT_OF_MEMORY = "OOMKilled"


def last_words(ended: Mapping[str, Any], limit: str | None, field: str = "spec.resources.limits.memory") -> str:
    """Return what to quote of how a container ended, empty where it left nothing.

    `limit` is that of its memory, and `field` what says it.
    """
    if ended.get("reason") == OUT_OF_MEMORY:
        most = f"its limit of {limit}" if limit else "its node has"
        return f"{OUT_OF_MEMORY}: it needed more memory than {most}; raise {field}"
    lines = list(_lines(str(ended.get("message") or "")))
    exceptions = [line for line in lines if _EXCEPTION.fullmatch(line)]
    whole = " ".join(lines)
    return exceptions[-1] if exceptions else whole if len(whole) <= _MOST_WHOLE else lines[-1]


def _lines(message: str) -> Iterator[str]:
    """Yield the lines of a message, those inside of JSON as well."""
    for line in filter(None, map(str.strip, message.splitlines())):
        if not line.startswith("{"):
            yield line
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            yield line
            continue
        told = [entry.get(key) for key in ("message", *_TRACEBACK_KEYS)]
        yield from filter(None, (part.strip() for text in told if isinstance(text, str) for part in text.splitlines()))
