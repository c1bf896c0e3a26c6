"""Whether an object is as desired, where it differs, and who manages that field."""

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from livekit_operator.engine.cache import Manifest

Path = tuple[str | int, ...]


def contains(actual: Any, desired: Any, *, quantities: bool = False) -> bool:
    """Return whether `actual` has everything of `desired`; what the API server adds as defaults is ignored."""
    if actual == desired:
        return True  # most parts are equal, and need no walk
    if actual is None:
        return desired in ({}, [])  # the API server leaves out what is empty
    if isinstance(desired, dict):
        return isinstance(actual, dict) and all(
            contains(actual.get(key), value, quantities=quantities or key in ("requests", "limits"))
            for key, value in desired.items()
        )
    if isinstance(desired, list):
        return (
            isinstance(actual, list)
            and len(actual) == len(desired)
            and all(contains(a, d) for a, d in zip(actual, desired, strict=True))
        )
    if desired is None:
        return actual in ({}, [])
    if quantities and isinstance(actual, str) and isinstance(desired, str):
        return _amount(actual) == _amount(desired)  # the API server writes 1000m as 1
    return bool(actual == desired)


def difference(actual: Any, desired: Any, *, quantities: bool = False) -> Path | None:
    """Return the path of the first field of `desired` that `actual` has not, None when it has all."""
    if contains(actual, desired, quantities=quantities):
        return None
    inner: Iterable[tuple[str | int, Any, Any]] = ()
    if isinstance(desired, dict) and isinstance(actual, dict):
        inner = ((key, actual.get(key), value) for key, value in desired.items())
    elif isinstance(desired, list) and isinstance(actual, list) and len(desired) == len(actual):
        inner = ((index, *pair) for index, pair in enumerate(zip(actual, desired, strict=True)))
    for key, one, other in inner:
        below = difference(one, other, quantities=quantities or key in ("requests", "limits"))
        if below is not None:
            return (key, *below)
    return ()


def found_at(value: Any, path: Path) -> Any:
    """Return what is at a path, None when nothing is."""
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def shown_path(path: Path) -> str:
    """Return a path as people write it."""
    text = "".join(f"[{part}]" if isinstance(part, int) or "/" in part else f".{part}" for part in path)
    return text.lstrip(".") or "the whole of it"


def manager_of(manifest: Manifest, path: Path, ours: str) -> str | None:
    """Return the field manager other than ours that owns a field, as `metadata.managedFields` tells."""
    for entry in manifest["metadata"].get("managedFields") or ():
        if entry.get("manager") != ours and _owns(entry.get("fieldsV1") or {}, manifest, path):
            return str(entry["manager"])[:100]
    return None


def _owns(fields: Mapping[str, Any], value: Any, path: Path) -> bool:
    """Return whether a set of fields has a path, or one below it.

    Source: https://pkg.go.dev/sigs.k8s.io/structured-merge-diff/v6/fieldpath
    """
    if not path:
        return True
    part, rest = path[0], path[1:]
    if isinstance(part, str):
        inner = fields.get(f"f:{part}")
        return inner is not None and _owns(inner, value.get(part) if isinstance(value, dict) else None, rest)
    item = value[part] if isinstance(value, list) and part < len(value) else None
    return any(_is_item(name, item) and _owns(inner, item, rest) for name, inner in fields.items())


def _is_item(name: str, item: Any) -> bool:
    kind, _, text = name.partition(":")
    try:
        keys = json.loads(text)
    except ValueError:
        return False
    if kind == "k" and isinstance(keys, dict) and isinstance(item, dict):
        return all(item.get(key) == value for key, value in keys.items())
    return kind == "v" and bool(keys == item)


_UNITS = {"m": Decimal("0.001"), "": Decimal(1), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9)}
_UNITS |= {"T": Decimal(10**12), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40)}


def _amount(quantity: str) -> Decimal | str:
    """Return the amount of a Kubernetes quantity, the text itself when it is none."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-zA-Z]*)", quantity)
    return Decimal(match[1]) * _UNITS[match[2]] if match and match[2] in _UNITS else quantity
