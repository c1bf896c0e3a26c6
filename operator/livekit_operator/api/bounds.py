"""Bounds of fields whose schema is not ours: the API server checks neither their depth nor their size."""

from typing import Any

import orjson
from pydantic import AfterValidator

MOST_LEVELS = 32
MOST_FREE_BYTES = 256 * 1024


def bounded(value: Any, most: int = MOST_FREE_BYTES) -> Any:
    """Return a value as it is; raises ValueError when it is nested too deeply or, as JSON, too long."""
    # Level by level: recursion would end where Python's own stack does.
    level, found = 0, [value]
    while found:
        level += 1
        if level > MOST_LEVELS:
            raise ValueError(f"nested deeper than {MOST_LEVELS} levels; make it flatter")
        found = [inner for outer in found for inner in _inside(outer)]
    if len(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)) > most:
        raise ValueError(f"longer than {most} bytes as JSON; leave out what is not needed")
    return value


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


Bounded = AfterValidator(bounded)
