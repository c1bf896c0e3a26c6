"""What the API server cannot check of free fields: how deep and how long they are."""

import pytest

from livekit_operator.api.bounds import MOST_FREE_BYTES, MOST_FREE_VALUES, MOST_LEVELS, bounded
from tests.unit.operator.api.free_values import nested


def test_what_is_within_bounds_stays_as_it_is() -> None:
    for value in (nested(MOST_LEVELS - 1), nested(MOST_LEVELS - 1, lists=True), {"a": "x" * (MOST_FREE_BYTES - 8)}, {}):
        assert bounded(value) is value


@pytest.mark.parametrize("levels", [MOST_LEVELS, 300, 1000, 100_000])
@pytest.mark.parametrize("lists", [True, False])
def test_what_is_deeper_is_refused(levels: int, lists: bool) -> None:
    with pytest.raises(ValueError, match=f"nested deeper than {MOST_LEVELS} levels"):
        bounded(nested(levels, lists=lists))


def test_what_is_longer_is_refused() -> None:
    with pytest.raises(ValueError, match=f"longer than {MOST_FREE_BYTES} bytes"):
        bounded({"a": "x" * MOST_FREE_BYTES})


def test_what_has_more_values_is_refused() -> None:
    assert bounded([{}] * (MOST_FREE_VALUES - 1))
    with pytest.raises(ValueError, match=f"more than {MOST_FREE_VALUES} values"):
        bounded([{}] * MOST_FREE_VALUES)
