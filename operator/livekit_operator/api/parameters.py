"""JSON schemas of a function's arguments: no schema of a CRD can hold them, so they are checked here.

Language models and the agent understand a part of JSON Schema; what is in none of both would only seem to be checked.
Source of the part: https://platform.openai.com/docs/guides/function-calling
"""

import re
from typing import Any

import orjson

MOST_BYTES = 16 * 1024
MOST_LEVELS = 5
MOST_PROPERTIES = 32
MOST_VALUES = 100
TYPES = ("array", "boolean", "integer", "number", "object", "string")
_NUMBERS = ("maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum")
_TEXTS = ("description", "format", "title")
_KEYWORDS = ("additionalProperties", "enum", "items", "properties", "required", "type", *_NUMBERS, *_TEXTS)
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")


def parameters_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of arguments as it is; raises ValueError when it is none, or beyond the bounds."""
    _want(schema.get("type") == "object", "must have type: object, with the arguments as its properties")
    _check(schema, "parameters", 1)
    # Not before the levels are known: writing is recursive.
    size = len(orjson.dumps(schema))
    _want(size <= MOST_BYTES, f"longer than {MOST_BYTES} bytes as JSON; shorten the descriptions")
    return schema


def _check(schema: Any, where: str, level: int) -> None:
    _want(isinstance(schema, dict), f"{where} must be a schema, such as {{type: string}}")
    _want(level <= MOST_LEVELS, f"nested deeper than {MOST_LEVELS} levels; make it flatter")
    unknown = sorted(str(keyword)[:64] for keyword in schema if keyword not in _KEYWORDS)
    _want(not unknown, f"{where} has {', '.join(unknown[:1])}, which is not supported: leave it out")
    _want(schema.get("type") in TYPES, f"{where} needs one type of {', '.join(TYPES)}")
    for keyword in _NUMBERS:
        number = schema.get(keyword, 0)
        _want(isinstance(number, int | float) and not isinstance(number, bool), f"{where}: {keyword} must be a number")
    for keyword in _TEXTS:
        _want(isinstance(schema.get(keyword, ""), str), f"{where}: {keyword} must be a text")
    free = schema.get("additionalProperties", False)
    _want(isinstance(free, bool), f"{where}: additionalProperties must be true or false")
    _check_enum(schema.get("enum", [""]), where)
    _check_properties(schema, where, level)
    if schema["type"] == "array":
        _check(schema.get("items"), f"{where}.items", level + 1)


def _check_enum(values: Any, where: str) -> None:
    fits = isinstance(values, list) and 1 <= len(values) <= MOST_VALUES
    _want(fits, f"{where}: enum must be a list of 1 to {MOST_VALUES} values")
    plain = all(isinstance(value, str | int | float | bool) for value in values)
    _want(plain, f"{where}: enum must have texts, numbers, true and false alone")


def _check_properties(schema: dict[str, Any], where: str, level: int) -> None:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    fits = isinstance(properties, dict) and len(properties) <= MOST_PROPERTIES
    _want(fits, f"{where}: properties must be a map of at most {MOST_PROPERTIES} schemas")
    known = isinstance(required, list) and all(isinstance(name, str) and name in properties for name in required)
    _want(known, f"{where}: required must be a list of names that properties has")
    for name, inner in properties.items():
        _want(bool(_NAME.fullmatch(name)), f"{where}: {name[:64]!r} is no name: use letters, digits, _ and -")
        _check(inner, f"{where}.{name}", level + 1)


def _want(right: bool, otherwise: str) -> None:
    if not right:
        raise ValueError(otherwise)
