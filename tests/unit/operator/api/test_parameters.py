"""Which schemas of arguments are taken."""

import re
from typing import Any

import pytest

from livekit_operator.api.parameters import MOST_BYTES, MOST_LEVELS, MOST_PROPERTIES, MOST_VALUES, parameters_schema

TEXT = {"type": "string"}


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def nested(levels: int) -> dict[str, Any]:
    """Return a schema of so many levels."""
    schema: dict[str, Any] = of()
    for _ in range(levels - 1):
        schema = of(a=schema)
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        of(day={"type": "string", "description": "A day.", "format": "date", "minLength": 10, "maxLength": 10}),
        of(n={"type": "integer", "minimum": 0, "maximum": 3, "enum": [0, 1, 2, 3]}, ok={"type": "boolean"}),
        of(days={"type": "array", "items": TEXT, "minItems": 1, "maxItems": 5}),
        {**of(a=TEXT), "required": ["a"], "additionalProperties": False, "title": "A"},
        nested(MOST_LEVELS),
        of(**{f"p{index}": TEXT for index in range(MOST_PROPERTIES)}),
    ],
)
def test_a_schema_is_taken_as_it_is(schema: dict[str, Any]) -> None:
    assert parameters_schema(schema) is schema


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({}, "must have type: object"),
        ({"type": "array", "items": TEXT}, "must have type: object"),
        (of(a=1), "parameters.a must be a schema"),
        (of(a=None), "parameters.a must be a schema"),
        (of(a={"$ref": "https://x"}), "has $ref, which is not supported"),
        (of(a={"type": "string", "pattern": "(a+)+$"}), "has pattern, which is not supported"),
        (of(a={"type": ["string", "null"]}), "parameters.a needs one type of"),
        (of(a={"type": "null"}), "parameters.a needs one type of"),
        (of(a={}), "parameters.a needs one type of"),
        (of(a={"type": "array"}), "parameters.a.items must be a schema"),
        (of(a={"type": "string", "maxLength": "9"}), "maxLength must be a number"),
        (of(a={"type": "string", "maxLength": True}), "maxLength must be a number"),
        (of(a={"type": "string", "description": 1}), "description must be a text"),
        (of(a={"type": "string", "enum": []}), "enum must be a list of 1"),
        (of(a={"type": "string", "enum": ["x"] * (MOST_VALUES + 1)}), "enum must be a list of 1"),
        (of(a={"type": "string", "enum": [{}]}), "enum must have texts"),
        ({"type": "object", "additionalProperties": TEXT}, "additionalProperties must be true or false"),
        ({"type": "object", "properties": []}, "properties must be a map"),
        ({**of(a=TEXT), "required": ["b"]}, "required must be a list of names"),
        ({**of(a=TEXT), "required": "a"}, "required must be a list of names"),
        (of(**{"a b": TEXT}), "'a b' is no name"),
        (of(**{"a" * 65: TEXT}), "is no name"),
        (of(**{f"p{index}": TEXT for index in range(MOST_PROPERTIES + 1)}), f"at most {MOST_PROPERTIES} schemas"),
        (nested(MOST_LEVELS + 1), "nested deeper than 5 levels"),
        (nested(5000), "nested deeper than 5 levels"),
        (of(a={**TEXT, "description": "x" * MOST_BYTES}), "longer than 16384 bytes"),
    ],
)
def test_what_is_wrong_is_said(schema: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parameters_schema(schema)
