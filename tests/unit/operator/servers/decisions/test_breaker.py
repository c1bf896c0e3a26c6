"""A server that lets requests run out of time is left alone for a growing while, and asked by one at a time."""

from datetime import timedelta

from livekit_operator.servers.decisions.breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Breaker
from tests.fakes.clock import Clock


def opened(clock: Clock) -> Breaker:
    breaker = Breaker()
    for n in range(FAILURES):
        assert breaker.wait(clock()) is None
        assert breaker.timed_out(clock()) == (n == FAILURES - 1), "told once"
    return breaker


def test_everybody_asks_a_server_that_answers() -> None:
    clock, breaker = Clock(), Breaker()
    for _ in range(FAILURES - 1):
        breaker.timed_out(clock())
    assert not breaker.answered()
    for _ in range(FAILURES - 1):
        breaker.timed_out(clock())
    assert not breaker.open
    assert breaker.wait(clock()) is None


def test_after_some_in_a_row_nobody_asks_then_one() -> None:
    clock = Clock()
    breaker = opened(clock)
    assert breaker.open
    assert breaker.wait(clock()) == FIRST_PAUSE.total_seconds()
    clock.advance(FIRST_PAUSE.total_seconds())
    assert breaker.wait(clock()) is None
    assert breaker.wait(clock()) is not None, "one at a time"
    assert breaker.answered(), "everybody is to hear of it"
    assert breaker.wait(clock()) is None
    assert breaker.wait(clock()) is None


def test_pauses_grow_up_to_a_minute_and_start_anew() -> None:
    clock = Clock()
    breaker = opened(clock)
    pauses = []
    for _ in range(7):
        seconds = breaker.wait(clock())
        assert seconds is not None
        pauses.append(seconds)
        clock.advance(seconds)
        assert breaker.wait(clock()) is None
        assert not breaker.timed_out(clock()), "known already"
    assert pauses == [5, 10, 20, 40, 60, 60, 60]
    clock.advance(LONGEST_PAUSE.total_seconds())
    assert breaker.wait(clock()) is None
    breaker.answered()
    for _ in range(FAILURES):
        breaker.timed_out(clock())
    assert breaker.wait(clock()) == FIRST_PAUSE.total_seconds()


def test_those_on_their_way_do_not_make_the_pause_longer() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.advance(1)
    for _ in range(20):
        assert not breaker.timed_out(clock())
    assert breaker.wait(clock()) == FIRST_PAUSE.total_seconds() - 1


def test_a_probe_that_tells_nothing_is_followed_by_another() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.advance(FIRST_PAUSE.total_seconds())
    assert breaker.wait(clock()) is None
    breaker.abandoned(clock())
    assert breaker.wait(clock()) == FIRST_PAUSE.total_seconds()


def test_a_clock_that_is_set_back_ends_the_pause() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now -= timedelta(hours=1)
    assert breaker.wait(clock()) is None
