"""Rotation of API keys: every step, and that stopping anywhere changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from livekit_operator.servers.decisions.key_rotation import (
    USERS_PATIENCE,
    ApiKey,
    KeyState,
    Users,
    dropped_at,
    next_state,
    phase,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GRACE = timedelta(hours=1)
OLD, NEW, NEWER = ApiKey("old", "s1"), ApiKey("new", "s2"), ApiKey("newer", "s3")
ALL = Users(servers_accept_all=True, pools_moved=True)
SERVERS_ROLL = replace(ALL, servers_accept_all=False)
POOLS_ROLL = replace(ALL, pools_moved=False)

STABLE = KeyState(OLD, (OLD,))
ACCEPTING = KeyState(OLD, (OLD, NEW), rotation="1")
MOVING = KeyState(NEW, (OLD, NEW), rotation="1", in_use_since=NOW)
MOVED = replace(MOVING, users_moved=NOW)
DROPPED = KeyState(NEW, (NEW,), rotation="1")


def step(
    state: KeyState,
    users: Users = ALL,
    *,
    given: ApiKey | None = None,
    rotation: str = "1",
    after: timedelta = timedelta(),
    generate: Callable[[], ApiKey] = lambda: NEW,
) -> KeyState:
    return next_state(state, users, given=given, rotation=rotation, generate=generate, grace=GRACE, now=NOW + after)


@pytest.mark.parametrize(
    ("state", "users", "after", "expected"),
    [
        pytest.param(STABLE, ALL, timedelta(), ACCEPTING, id="a new rotation generates a key"),
        pytest.param(ACCEPTING, SERVERS_ROLL, timedelta(days=9), ACCEPTING, id="not in use before servers accept it"),
        pytest.param(ACCEPTING, ALL, timedelta(), MOVING, id="in use when all accept it"),
        pytest.param(ACCEPTING, POOLS_ROLL, timedelta(), MOVING, id="pools follow later"),
        pytest.param(MOVING, POOLS_ROLL, GRACE, MOVING, id="grace does not begin before pools have moved"),
        pytest.param(MOVING, ALL, timedelta(), MOVED, id="grace begins"),
        pytest.param(MOVED, POOLS_ROLL, timedelta(), MOVED, id="and does not begin again"),
        pytest.param(MOVED, ALL, GRACE - timedelta(seconds=1), MOVED, id="within grace"),
        pytest.param(MOVED, ALL, GRACE, DROPPED, id="grace is over"),
        pytest.param(
            MOVING, POOLS_ROLL, USERS_PATIENCE + GRACE, DROPPED, id="a pool that is stuck holds it not for ever"
        ),
        pytest.param(DROPPED, SERVERS_ROLL, timedelta(days=9), DROPPED, id="done"),
    ],
)
def test_generated_keys(state: KeyState, users: Users, after: timedelta, expected: KeyState) -> None:
    assert step(state, users, after=after) == expected
    if expected == state:
        assert step(state, users, after=after) is state


def test_a_second_rotation_during_the_first_waits_for_its_own_key() -> None:
    both = step(MOVING, rotation="2", generate=lambda: NEWER)
    assert both == replace(MOVING, accepted=(OLD, NEW, NEWER), rotation="2")
    in_use = step(both, rotation="2")
    assert in_use.in_use == NEWER
    moved = step(in_use, rotation="2")
    assert step(moved, rotation="2", after=GRACE).accepted == (NEWER,)


def test_a_key_of_a_secret_is_taken_without_a_rotation() -> None:
    taken = step(STABLE, given=NEW, rotation="")
    assert (taken.in_use, taken.accepted) == (OLD, (OLD, NEW))
    assert step(taken, given=NEW, rotation="").in_use == NEW
    assert step(STABLE, given=OLD, rotation="") is STABLE


def test_another_secret_for_the_same_key_replaces_it() -> None:
    changed = ApiKey("old", "another")
    taken = step(STABLE, given=changed, rotation="")
    assert (taken.in_use, taken.accepted) == (changed, (changed,))


def test_a_key_that_is_given_again_before_it_was_replaced_lets_the_other_go() -> None:
    back = step(KeyState(OLD, (OLD, NEW)), given=OLD)
    assert (back.in_use, back.accepted) == (OLD, (NEW, OLD))
    begun = step(back, given=OLD)
    assert begun.in_use_since == NOW
    moved = step(begun, given=OLD)
    assert step(moved, given=OLD, after=GRACE).accepted == (OLD,)


def test_a_key_that_is_given_again_is_the_newest_again() -> None:
    back = step(MOVING, given=OLD)
    assert back.accepted == (NEW, OLD)
    assert step(back, given=OLD).in_use == OLD


@pytest.mark.parametrize(
    ("state", "users", "expected"),
    [
        (STABLE, ALL, "Stable"),
        (ACCEPTING, SERVERS_ROLL, "Accepting"),
        (ACCEPTING, ALL, "Accepting"),
        (MOVING, POOLS_ROLL, "Moving"),
        (MOVED, ALL, "Moving"),
        (DROPPED, SERVERS_ROLL, "Dropping"),
        (DROPPED, ALL, "Stable"),
    ],
)
def test_phases(state: KeyState, users: Users, expected: str) -> None:
    assert phase(state, users) == expected


@pytest.mark.parametrize("state", [STABLE, ACCEPTING, DROPPED])
def test_no_time_is_told_where_there_is_none(state: KeyState) -> None:
    assert dropped_at(state, GRACE) is None


def test_a_key_shows_neither_of_its_parts() -> None:
    assert repr(KeyState(OLD, (OLD,))).count("s1") == 0
