"""What the command line asks for."""

import pytest

from tests.soak.__main__ import plans
from tests.soak.plan import Kind, Sizes, make_plan
from tests.soak.report import Outcome


def test_without_words_it_is_a_soak_of_the_usual_size() -> None:
    (plan,) = plans([])
    assert plan == make_plan(plan.seed, Sizes())
    assert (plan.sizes.rooms, plan.sizes.kills, plan.sizes.calls) == (2000, 10, 200)


def test_each_of_several_soaks_has_the_next_seed() -> None:
    wanted = plans(["--seed", "7", "--times", "3", "--minutes", "5"])
    assert wanted == [make_plan(seed, Sizes(minutes=5)) for seed in (7, 8, 9)]


def test_the_command_that_repeats_a_soak_makes_the_same_plan() -> None:
    (plan,) = plans(
        [
            "--seed",
            "7",
            "--minutes",
            "2.5",
            "--rooms",
            "9",
            "--calls",
            "8",
            "--kills",
            "3",
            "--faults",
            "CPU taken, pod evicted",
        ]
    )
    assert plan.sizes.kinds == (Kind.CPU, Kind.EVICTION)
    told = Outcome(plan).command
    assert told == "make soak SEED=7 MINUTES=2.5 ROOMS=9 CALLS=8 KILLS=3 FAULTS='CPU taken,pod evicted'"


def test_another_kind_of_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="earthquake"):
        plans(["--faults", "earthquake"])
