"""What the API server checks of our kinds by their CRDs with `fieldValidation=Strict`, and the fake one as well.

A real one refuses a wrong value of a status, and silently drops a field that no schema names: a misspelled one is lost
with every write. CEL rules and the names of objects are left out; both are tested against a real API server.
"""

import functools
import ipaddress
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parents[2] / "crds"

Schema = dict[str, Any]
Check = Callable[[Any, str], Iterator[str]]
"""Takes a value and its path; yields what is wrong with it, each with the path of the field."""


def problems(kind: str, part: str, value: Any) -> list[str]:
    """Return what the CRD of a kind does not allow of `spec` or `status`; nothing for kinds that are not ours."""
    check = _checks().get((kind, part))
    return list(check(value, part)) if check else []


@functools.cache
def _checks() -> dict[tuple[str, str], Check]:
    found: dict[tuple[str, str], Check] = {}
    for path in sorted(_FOLDER.glob("*.yaml")):
        crd = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
        (version,) = crd["spec"]["versions"]
        parts = version["schema"]["openAPIV3Schema"]["properties"]
        found |= {(crd["spec"]["names"]["kind"], part): compiled(parts[part]) for part in ("spec", "status")}
    return found


def compiled(schema: Schema) -> Check:
    """Return the check that a structural schema stands for; raises TypeError for a keyword that is not known."""
    if unknown := schema.keys() - _KEYWORDS.keys() - _UNCHECKED:
        raise TypeError(f"nothing here checks {sorted(unknown)}")
    checks = [_typed(schema)]
    checks += [make(schema) for keyword, make in _KEYWORDS.items() if keyword in schema]
    if schema.get("type") == "object" and not schema.keys() & {"properties", "additionalProperties"}:
        checks.append(_fields(schema))

    def check(value: Any, path: str) -> Iterator[str]:
        kind, *rest = checks
        wrong = list(kind(value, path))
        yield from wrong
        if not wrong:
            for other in rest:
                yield from other(value, path)

    return check


def _typed(schema: Schema) -> Check:
    wanted = "int-or-string" if schema.get("x-kubernetes-int-or-string") else schema.get("type")
    if wanted is None:
        return lambda _value, _path: iter(())
    name, types = _TYPES[wanted]

    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            yield f"{path}: {value!r} is not {name}"

    return check


def _fields(schema: Schema) -> Check:
    """Check the fields of an object that names them, and that there are no others."""
    fields = {name: compiled(part) for name, part in schema.get("properties", {}).items()}
    keeps = schema.get("x-kubernetes-preserve-unknown-fields", False)

    def check(value: Any, path: str) -> Iterator[str]:
        for name, part in value.items():
            if name in fields:
                yield from fields[name](part, f"{path}.{name}")
            elif not keeps:
                yield f"{path}.{name}: there is no such field"

    return check


def _values(schema: Schema) -> Check:
    part = compiled(schema["additionalProperties"])

    def check(value: Any, path: str) -> Iterator[str]:
        for name, inner in value.items():
            yield from part(inner, f"{path}.{name}")

    return check


def _items(schema: Schema) -> Check:
    part = compiled(schema["items"])

    def check(value: Any, path: str) -> Iterator[str]:
        for index, inner in enumerate(value):
            yield from part(inner, f"{path}[{index}]")

    return check


def _required(schema: Schema) -> Check:
    required = schema["required"]

    def check(value: Any, path: str) -> Iterator[str]:
        yield from (f"{path}.{name}: is required" for name in required if name not in value)

    return check


def _keyed(schema: Schema) -> Check:
    """Check that no two items of a list have the same key, or are the same."""
    keys, kind = schema.get("x-kubernetes-list-map-keys", ()), schema["x-kubernetes-list-type"]

    def check(value: Any, path: str) -> Iterator[str]:
        if kind == "atomic":
            return
        seen: list[Any] = []
        for index, item in enumerate(value):
            same = item if kind == "set" else [item.get(key) for key in keys]
            if same in seen:
                yield f"{path}[{index}]: {same!r} is there twice"
            seen.append(same)

    return check


def _one_of(schema: Schema) -> Check:
    parts = [compiled(part) for part in schema["oneOf"]]

    def check(value: Any, path: str) -> Iterator[str]:
        if sum(not list(part(value, path)) for part in parts) != 1:
            yield f"{path}: {value!r} is not one of what it may be"

    return check


def _plain(
    keyword: str, words: str, holds: Callable[[Any, Any], bool], of: tuple[type, ...] = (object,)
) -> Callable[[Schema], Check]:
    """Return what makes the check of a keyword that compares a value of these types with its limit."""

    def make(schema: Schema) -> Check:
        limit = schema[keyword]

        def check(value: Any, path: str) -> Iterator[str]:
            if isinstance(value, of) and not holds(value, limit):
                yield f"{path}: {value!r} {words} {limit!r}"

        return check

    return make


def _pattern(schema: Schema) -> Check:
    pattern = re.compile(schema["pattern"])

    def check(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, str) and not pattern.search(value):
            yield f"{path}: {value!r} does not match {schema['pattern']}"

    return check


def _formatted(schema: Schema) -> Check:
    read, name = _FORMATS[schema["format"]], schema["format"]

    def check(value: Any, path: str) -> Iterator[str]:
        try:
            read(value)
        except ValueError:
            yield f"{path}: {value!r} is no {name}"

    return check


_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "object": ("an object", (dict,)),
    "array": ("a list", (list,)),
    "string": ("a string", (str,)),
    "integer": ("an integer", (int,)),
    "number": ("a number", (int, float)),
    "boolean": ("a boolean", (bool,)),
    "int-or-string": ("an integer or a string", (int, str)),
}
_FORMATS: dict[str, Callable[[str], Any]] = {
    "date-time": datetime.fromisoformat,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "cidr": functools.partial(ipaddress.ip_network, strict=False),
}
_KEYWORDS: dict[str, Callable[[Schema], Check]] = {
    "properties": _fields,
    "additionalProperties": _values,
    "items": _items,
    "required": _required,
    "x-kubernetes-list-type": _keyed,
    "oneOf": _one_of,
    "pattern": _pattern,
    "format": _formatted,
    "enum": _plain("enum", "is none of", lambda value, allowed: value in allowed),
    "minimum": _plain("minimum", "is below", lambda value, least: value >= least, (int, float)),
    "maximum": _plain("maximum", "is above", lambda value, most: value <= most, (int, float)),
    "minLength": _plain("minLength", "is shorter than", lambda value, least: len(value) >= least, (str,)),
    "maxLength": _plain("maxLength", "is longer than", lambda value, most: len(value) <= most, (str,)),
    "minItems": _plain("minItems", "has fewer items than", lambda value, least: len(value) >= least, (list,)),
    "maxItems": _plain("maxItems", "has more items than", lambda value, most: len(value) <= most, (list,)),
    "minProperties": _plain(
        "minProperties", "has fewer fields than", lambda value, least: len(value) >= least, (dict,)
    ),
    "maxProperties": _plain("maxProperties", "has more fields than", lambda value, most: len(value) <= most, (dict,)),
}
# What says nothing of one value, or is said by another keyword.
_UNCHECKED = {
    "type",
    "description",
    "default",
    "anyOf",  # of integers or strings
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
}
