"""What objects of the operator remember: every container they hold, however deep, so that no new one is left out."""

from collections import deque
from collections.abc import Collection, Mapping
from typing import Any

_CONTAINERS = (dict, set, list, deque)


def sizes(root: object) -> dict[str, int]:
    """Return path -> number of items of every dict, set, list and deque that an object of the operator's holds."""
    found: dict[str, int] = {}
    _walk(root, type(root).__name__, found, set())
    return found


def left(before: Mapping[str, int], root: object) -> list[str]:
    """Return what an object holds more of than before, and what it still holds of that."""
    return [f"{path}: {size}" for path, size in sizes(root).items() if size > before.get(path, 0)]


def _walk(value: Any, path: str, found: dict[str, int], seen: set[int]) -> None:
    value = getattr(value, "__self__", value)  # the object of a bound method
    if id(value) in seen:
        return
    if isinstance(value, _CONTAINERS):
        seen.add(id(value))
        held: Collection[Any] = value
        found[path] = len(held)
        items = list(value.items()) if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            _walk(item, f"{path}[{key}]", found, seen)
    elif type(value).__module__.startswith("livekit_operator.") and hasattr(value, "__dict__"):
        seen.add(id(value))
        for name, item in vars(value).items():
            _walk(item, f"{path}.{name}", found, seen)
