"""Which arguments of a model are what a function wants."""

from typing import Any

import pytest

from voice_agent.tools.arguments import MOST_ITEMS, MOST_LETTERS, problem

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "minLength": 2, "maxLength": 10},
        "long": {"type": "string", "maxLength": 10**9},
        "part": {"type": "string", "enum": ["morning", "evening"]},
        "n": {"type": "integer", "minimum": 1, "maximum": 3},
        "price": {"type": "number"},
        "urgent": {"type": "boolean"},
        "who": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        "days": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "every": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["day"],
}


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"day": "monday"}, None),
        ({"day": "monday", "part": "evening", "n": 3, "price": 1, "urgent": True, "who": {"name": "x"}}, None),
        ({"day": "monday", "price": 1.5, "days": ["a", "b"]}, None),
        ({}, "day is missing"),
        ({"day": None}, "day must be of type string"),
        ({"day": 1}, "day must be of type string"),
        ({"day": "x"}, "day must have 2 to 10 letters"),
        ({"day": "x" * 11}, "day must have 2 to 10 letters"),
        ({"day": "monday", "long": "x" * (MOST_LETTERS + 1)}, f"long must have 0 to {MOST_LETTERS} letters"),
        ({"day": "monday", "part": "night"}, "part must be one of morning, evening"),
        ({"day": "monday", "n": 0}, "n is out of bounds"),
        ({"day": "monday", "n": 4}, "n is out of bounds"),
        ({"day": "monday", "n": True}, "n must be of type integer"),
        ({"day": "monday", "n": 1.5}, "n must be of type integer"),
        ({"day": "monday", "price": float("nan")}, "price is out of bounds"),
        ({"day": "monday", "urgent": 1}, "urgent must be of type boolean"),
        ({"day": "monday", "who": {}}, "name is missing"),
        ({"day": "monday", "who": {"name": 1}}, "name must be of type string"),
        ({"day": "monday", "days": ["a", "b", "c"]}, "days must have 0 to 2 items"),
        ({"day": "monday", "days": [1]}, "an item of days must be of type string"),
        ({"day": "monday", "every": [1] * (MOST_ITEMS + 1)}, f"every must have 0 to {MOST_ITEMS} items"),
        ({"day": "monday", "night": "x"}, "the arguments have no night"),
        ([], "the arguments must be of type object"),
    ],
)
def test_what_is_wrong_is_said(given: Any, wrong: str | None) -> None:
    assert problem(SCHEMA, given) == wrong


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"x": "y", "n": 1}, None),
        ({"x": {}}, "the arguments have no x"),
        ({"x": "y" * (MOST_LETTERS + 1)}, "x is too long"),
        ({str(i): 1 for i in range(MOST_ITEMS + 1)}, "the arguments are too many"),
    ],
)
def test_others_are_bounded_where_they_are_allowed(given: Any, wrong: str | None) -> None:
    assert problem({"type": "object", "additionalProperties": True}, given) == wrong
