"""Idle processes are started when no call is about to begin, and as many as calls could still come."""

from types import SimpleNamespace
from typing import Any

import pytest

from voice_agent.runner.refill import PAUSE, Refill


class Pool:
    """The library's pool, as far as it is told."""

    def __init__(self) -> None:
        self.target = 3

    def set_target_idle_processes(self, number: int) -> None:
        self.target = number


def refill(free: int, idle: int = 3) -> tuple[Pool, Refill, SimpleNamespace]:
    world, pool = SimpleNamespace(now=100.0, free=free), Pool()
    return pool, Refill(pool, idle, lambda: world.free, lambda: world.now), world


@pytest.mark.parametrize(
    ("idle", "free", "target"), [(3, 6, 3), (3, 3, 3), (3, 2, 2), (3, 0, 0), (3, -1, 0), (0, 6, 0), (6, 6, 6)]
)
def test_as_many_as_sessions_are_free(idle: int, free: int, target: int) -> None:
    pool, asked, _ = refill(free, idle)
    asked.on_load(idle)
    assert pool.target == target


def test_none_is_started_right_after_a_call_came() -> None:
    pool, asked, world = refill(free=5)
    executor: Any = None
    asked.on_launched(executor)
    assert pool.target == 0
    world.now += PAUSE - 0.1
    asked.on_load(3)
    assert pool.target == 0
    world.now += 0.1
    asked.on_load(3)
    assert pool.target == 3


def test_calls_that_keep_coming_do_not_put_it_off_for_ever() -> None:
    pool, asked, world = refill(free=5)
    targets = []
    for _ in range(30):
        asked.on_launched(None)
        world.now += 0.2
        asked.on_load(3)
        targets.append(pool.target)
    assert targets.count(3) == 3
