"""Bounds of fields whose schema is not ours: the API server checks neither their depth nor their size."""

from typing import Any

import orjson
from pydantic import AfterValidator

MOST_LEVELS = 32
MOST_FREE_BYTES = 256 * 1024
# Each is written, compared and digested in every pass.
MOST_FREE_VALUES = 10_000


def bounded(value: Any, most: int = MOST_FREE_BYTES) -> Any:
    """Return a value as it is; raises ValueError when it is too deep, too long or too much."""
    # Level by level: recursion would end where Python's own stack does.
    level, values, found = 0, 0, [value]
    while found:
        level, values = level + 1, values + len(found)
        if values > MOST_FREE_VALUES:
            raise ValueError(f"more than {MOST_FREE_VALUES} values; leave out what is not needed")
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
