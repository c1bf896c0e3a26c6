"""Whether a model's arguments are what a function's schema wants: models call with what the schema does not allow.

The schema was checked by the operator (api/parameters.py): it has the keywords that are checked here, and few others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_LETTERS = 8192
MOST_ITEMS = 256

_TYPES: Mapping[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


def problem(schema: Mapping[str, Any], value: Any, where: str = "the arguments") -> str | None:
    """What is wrong with a value, in words for the model; None when nothing is."""
    kind = str(schema["type"])
    # true is a number to Python
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return f"{where} must be of type {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} must be one of {', '.join(map(str, schema['enum']))}"
    match value:
        case dict():
            return _of_object(schema, value, where)
        case list():
            return _of_array(schema, value, where)
        case str():
            low, high = schema.get("minLength", 0), min(schema.get("maxLength", MOST_LETTERS), MOST_LETTERS)
            return None if low <= len(value) <= high else f"{where} must have {low} to {high} letters"
        case bool():
            return None
        case _:
            low, high = schema.get("minimum", value), schema.get("maximum", value)
            return None if low <= value <= high else f"{where} is out of bounds"


def _of_object(schema: Mapping[str, Any], value: Mapping[str, Any], where: str) -> str | None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{name} is missing"
    for name, inner in value.items():
        if name in properties:
            if wrong := problem(properties[name], inner, name):
                return wrong
        elif schema.get("additionalProperties") is not True or not isinstance(inner, str | int | float | bool):
            return f"{where} have no {name[:64]}"
        elif len(str(inner)) > MOST_LETTERS:
            return f"{name[:64]} is too long"
    return f"{where} are too many" if len(value) > MOST_ITEMS else None


def _of_array(schema: Mapping[str, Any], value: list[Any], where: str) -> str | None:
    low, high = schema.get("minItems", 0), min(schema.get("maxItems", MOST_ITEMS), MOST_ITEMS)
    if not low <= len(value) <= high:
        return f"{where} must have {low} to {high} items"
    return next((wrong for item in value if (wrong := problem(schema["items"], item, f"an item of {where}"))), None)
