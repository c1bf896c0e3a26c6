"""A percentage counts what it is of, and never less."""

import pytest

from livekit_operator.percentages import resolve


@pytest.mark.parametrize(
    ("value", "whole", "expected"),
    [
        pytest.param(3, 100, 3, id="a number is itself"),
        pytest.param("25%", 4, 1, id="a whole part"),
        pytest.param("25%", 5, 2, id="rounded up"),
        pytest.param("25%", 0, 0, id="of nothing: nothing"),
        pytest.param("0%", 100, 0, id="no part"),
        pytest.param("7%", 100, 7, id="no rounding error of a float"),
        pytest.param("1000%", 3, 30, id="more than the whole"),
    ],
)
def test_resolve(value: int | str, whole: int, expected: int) -> None:
    assert resolve(value, whole) == expected


@pytest.mark.parametrize("text", ["25", "%", "", "a quarter%"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"percentage|invalid literal"):
        resolve(text, 4)
