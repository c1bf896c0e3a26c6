"""Values for fields whose schema is not ours."""

from typing import Any

from livekit_operator.api.bounds import MOST_FREE_BYTES, MOST_LEVELS


def nested(levels: int, *, lists: bool = False) -> Any:
    """Return maps, or lists, in one another."""
    value: Any = 1
    for _ in range(levels):
        value = [value] if lists else {"a": value}
    return value


DEEP = {"key": nested(MOST_LEVELS)}
LARGE = {"key": "x" * MOST_FREE_BYTES}


def at(path: str, value: Any) -> dict[str, Any]:
    """Return a spec with a value at a place; a part "0" of it is a list of one."""
    for name in reversed(path.split(".")):
        value = [value] if name == "0" else {name: value}
    assert isinstance(value, dict)
    return value
