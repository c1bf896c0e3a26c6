"""A canary gets its share of the calls, and is promoted or fails by how they end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.api.voiceagentpool import CanaryAnalysis
from livekit_operator.pools.decisions.canary import goes_to_canary, judge_canary


@pytest.mark.parametrize(
    ("sessions", "failed", "expected"),
    [
        (0, 0, "Wait"),
        (19, 0, "Wait"),
        (20, 0, "Promote"),
        (20, 1, "Promote"),  # exactly 5 %
        (20, 2, "Fail"),
        (1, 1, "Wait"),  # nineteen good ones may still come
        (2, 2, "Fail"),  # whatever comes, more than one of twenty has failed
        (39, 2, "Fail"),
        (40, 2, "Promote"),
    ],
)
def test_judge_canary(sessions: int, failed: int, expected: str) -> None:
    analysis = CanaryAnalysis.model_validate({"minSessions": 20, "maxFailedPercent": 5})
    assert judge_canary(analysis, sessions=sessions, failed=failed) == expected


def test_without_an_analysis_people_judge() -> None:
    assert judge_canary(None, sessions=1000, failed=1000) == "Wait"


def test_a_canary_that_may_always_fail_is_promoted_all_the_same() -> None:
    analysis = CanaryAnalysis.model_validate({"minSessions": 1, "maxFailedPercent": 100})
    assert judge_canary(analysis, sessions=1, failed=1) == "Promote"


@pytest.mark.parametrize("weight", [1, 10, 50, 99])
def test_calls_are_shared_as_weighted(weight: int) -> None:
    picked = sum(goes_to_canary(weight, f"RM_{number}/0") for number in range(10_000))
    expected = 100 * weight
    # Four standard deviations of the binomial distribution.
    assert abs(picked - expected) < 4 * (expected * (1 - weight / 100)) ** 0.5


def test_every_percent_is_as_likely_as_the_others() -> None:
    counts = [0] * 100
    for number in range(10_000):
        counts[next(weight for weight in range(100) if goes_to_canary(weight + 1, f"RM_{number}/1"))] += 1
    chi_square = sum((count - 100) ** 2 / 100 for count in counts)
    assert chi_square < 160  # 99 degrees of freedom: one in ten thousand is above


@given(st.integers(1, 99), st.text())
def test_the_same_call_always_goes_the_same_way(weight: int, seed: str) -> None:
    assert goes_to_canary(weight, seed) == goes_to_canary(weight, seed)
    assert not goes_to_canary(0, seed)
    assert goes_to_canary(100, seed)
    if goes_to_canary(weight, seed):
        assert goes_to_canary(weight + 1, seed)  # who raises the weight moves nobody back
