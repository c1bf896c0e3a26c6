"""What a soak will do follows from its seed alone."""

import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest

from tests.soak.plan import CHARACTERS, QUICK, Call, Fault, Kind, Sizes, choose, make_plan

SHORT = Sizes(rooms=100, kills=4, calls=10, minutes=10)
SEEDS = range(20)


def test_a_seed_stands_for_the_very_same_plan_in_every_process() -> None:
    program = "from tests.soak.plan import *; print(make_plan(7, Sizes(minutes=5, calls=3)))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.strip() == repr(make_plan(7, Sizes(minutes=5, calls=3)))


def test_a_plan_as_it_was_when_this_was_written() -> None:
    """Another one would make the seeds useless that people have written down."""
    plan = make_plan(1, SHORT)
    assert plan.kills == KILLS
    assert plan.faults[:3] == FAULTS
    assert plan.calls[:2] == CALLS


def test_another_seed_is_another_plan() -> None:
    assert len({make_plan(seed, SHORT).faults for seed in SEEDS}) == len(SEEDS)
    assert len({make_plan(seed, SHORT).kills for seed in SEEDS}) == len(SEEDS)
    assert len({make_plan(seed, SHORT).calls for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_operator_is_killed_once_in_each_part_of_the_rooms(seed: int) -> None:
    assert [int(kill // 25) for kill in make_plan(seed, SHORT).kills] == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_comes_before_any_comes_again(seed: int) -> None:
    faults = make_plan(seed, Sizes(minutes=60)).faults
    for first in range(0, len(faults) - len(Kind), len(Kind)):
        assert {fault.kind for fault in faults[first : first + len(Kind)]} == set(Kind)
    counts = Counter(fault.kind for fault in faults)
    assert max(counts.values()) - min(counts[kind] for kind in Kind) <= 1
    assert len(faults) > 2 * len(Kind)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_longer_plan_begins_with_a_shorter_one(seed: int) -> None:
    shorter, longer = make_plan(seed, SHORT).faults, make_plan(seed, Sizes(minutes=30)).faults
    assert longer[: len(shorter)] == shorter
    assert len(longer) > len(shorter)


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_take_the_time_there_is(seed: int) -> None:
    faults = make_plan(seed, SHORT).faults
    taken = sum(fault.pause + fault.lasts + CHARACTERS[fault.kind].usually for fault in faults)
    longest = max(character.most + character.usually for character in CHARACTERS.values())
    assert 600 - longest - 8 <= taken <= 600
    assert [fault.number for fault in faults] == list(range(1, len(faults) + 1))


@pytest.mark.parametrize("kind", Kind)
def test_a_fault_lasts_as_long_as_its_kind_does(kind: Kind) -> None:
    faults = make_plan(3, Sizes(minutes=120, kinds=(kind,))).faults
    character = CHARACTERS[kind]
    assert {fault.kind for fault in faults} == {kind}
    assert all(character.least <= fault.lasts <= character.most for fault in faults)
    assert all(0 <= fault.chance < 1 for fault in faults)
    assert character.usually < character.heals_within


@pytest.mark.parametrize(
    ("chance", "seconds"),
    [(0.0, -32400), (0.25, -569), (0.4999, -10), (0.5, 10), (0.75, 569), (0.9999, 32348)],
)
def test_clocks_are_moved_forward_and_back_by_seconds_to_hours(chance: float, seconds: int) -> None:
    assert Fault(1, Kind.CLOCK, 0, 0, chance).clock_seconds == seconds


@pytest.mark.parametrize("seed", SEEDS)
def test_calls_come_while_there_are_faults(seed: int) -> None:
    calls = make_plan(seed, SHORT).calls
    assert [call.number for call in calls] == list(range(1, 11))
    assert all(one.begins <= other.begins for one, other in pairwise(calls))
    assert all(0 <= call.begins <= 600 and 8 <= call.lasts <= 40 for call in calls)


def test_nothing_is_planned_where_nothing_is_asked_for() -> None:
    plan = make_plan(1, Sizes(rooms=0, kills=0, calls=0, minutes=0))
    assert (plan.kills, plan.faults, plan.calls) == ((), (), ())
    assert make_plan(1, Sizes(kinds=())).faults == ()


def test_quick_kinds_take_no_minutes() -> None:
    assert {CHARACTERS[kind].heals_within for kind in QUICK} <= {60, 90, 120}
    assert Kind.NODE not in QUICK


@pytest.mark.parametrize(
    ("names", "chance", "chosen"),
    [
        (["a"], 0.0, "a"),
        (["a"], 0.999, "a"),
        (["b", "a"], 0.0, "a"),
        (["b", "a"], 0.49, "a"),
        (["b", "a"], 0.5, "b"),
        (["c", "b", "a"], 0.999, "c"),
    ],
)
def test_a_chance_stands_for_one_of_some_names(names: list[str], chance: float, chosen: str) -> None:
    assert choose(names, chance) == chosen


KILLS = (4, 35, 66, 81)
FAULTS = (
    Fault(1, Kind.API_SERVER, pause=3.5, lasts=0.0, chance=0.2595647398089368),
    Fault(2, Kind.WORKER, pause=7.1, lasts=0.0, chance=0.24124341324620624),
    Fault(3, Kind.OPERATOR, pause=4.8, lasts=0.0, chance=0.0055086271200768255),
)
CALLS = (Call(1, begins=20.0, lasts=14.1), Call(2, begins=62.1, lasts=20.2))
