"""Whether memory grows."""

import random
from collections.abc import Callable

import pytest

from tests.soak.memory import MOST_MIB, Growth, Sample, growth


def samples(mib: Callable[[int], float], count: int = 60, life: str = "a") -> list[Sample]:
    return [Sample(2.0 * number, life, mib(number)) for number in range(count)]


def test_memory_that_stays_does_not_grow() -> None:
    luck = random.Random(1)
    found = growth(samples(lambda _: 100 + luck.random()), 0.0)
    assert found is not None
    assert abs(found.mib) < 0.5
    assert not found.grows


def test_memory_that_is_leaked_grows() -> None:
    found = growth(samples(lambda number: 100 + number / 4), 0.0)
    assert found is not None
    assert found.mib == pytest.approx(59 / 4)
    assert (found.seconds, found.start) == (118.0, 100.0)
    assert found.grows


def test_a_peak_is_no_growth() -> None:
    found = growth(samples(lambda number: 150.0 if 20 < number < 26 else 100.0), 0.0)
    assert found is not None
    assert found.mib == 0.0


def test_only_the_last_life_counts_and_only_since_a_moment() -> None:
    seen = [
        *samples(lambda number: 10.0 * number, life="before"),
        *samples(lambda number: max(100.0, 160.0 - 10 * number)),
    ]
    found = growth(seen, 20.0)
    assert found is not None
    assert found.mib == 0.0
    assert found.seconds == 98.0


@pytest.mark.parametrize("seen", [[], samples(lambda _: 100.0, count=9)])
def test_of_too_little_nothing_is_said(seen: list[Sample]) -> None:
    assert growth(seen, 0.0) is None


@pytest.mark.parametrize(("mib", "grows"), [(-50.0, False), (MOST_MIB, False), (MOST_MIB + 0.1, True)])
def test_a_bound_says_what_is_growth(mib: float, grows: bool) -> None:
    assert Growth(60.0, 100.0, mib).grows is grows
