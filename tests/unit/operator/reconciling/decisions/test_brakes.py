"""When something may be made or written again."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from livekit_operator import reasons
from livekit_operator.errors import Problem
from livekit_operator.reconciling.decisions.brakes import (
    STATUS_WRITES_A_MINUTE,
    Brakes,
    Bucket,
    ChildBrakes,
    Held,
    MadePod,
    PodHistory,
    pause,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def pods(number: int, *, created: datetime = NOW, finished: bool = False, first: int = 0) -> list[MadePod]:
    return [MadePod(f"uid-{first + n}", created, finished, words="Evicted") for n in range(number)]


@pytest.mark.parametrize(
    ("failures", "seconds"), [(-3, 0), (0, 0), (1, 10), (2, 20), (3, 40), (5, 160), (6, 300), (10_000, 300)]
)
def test_pauses_grow_up_to_five_minutes(failures: int, seconds: float) -> None:
    assert pause(failures).total_seconds() == seconds


@pytest.mark.parametrize(
    ("failed", "wanted", "seconds"),
    [
        pytest.param(1, 1, 0, id="a place is filled again at once"),
        pytest.param(2, 1, 10, id="the second time not"),
        pytest.param(3, 1, 20, id="the third time less"),
        pytest.param(50, 50, 0, id="a node with all pods of a pool is lost"),
        pytest.param(51, 50, 10, id="one of them ends again"),
        pytest.param(100, 50, 10, id="all of them end again"),
        pytest.param(101, 50, 20, id="and again"),
        pytest.param(9, 1, 300, id="for ever"),
        pytest.param(2, 0, 10, id="none is wanted any more"),
    ],
)
def test_pods_that_end_soon_are_made_again_more_and_more_slowly(failed: int, wanted: int, seconds: float) -> None:
    history = PodHistory()
    history.see(pods(failed, finished=True, created=after(-300)), 1, NOW)
    number, held = history.allow(1, wanted=wanted, now=NOW)
    if seconds == 0:
        assert (number, held) == (1, None)
        return
    assert number == 0
    assert held is not None
    assert (held.problem.reason, held.until) == (reasons.BACKING_OFF, after(seconds))
    assert "Evicted" in held.problem.message
    assert history.allow(1, wanted=wanted, now=after(seconds)) == (1, None)


def test_pods_that_served_did_not_fail() -> None:
    history = PodHistory()
    history.see(pods(5, finished=True, created=after(-601)), 1, NOW)
    assert history.allow(5, wanted=1, now=NOW) == (5, None)


def test_failures_are_forgotten_with_the_spec_and_in_time() -> None:
    history = PodHistory()
    history.see(pods(8, finished=True), 1, NOW)
    assert history.allow(1, wanted=1, now=NOW)[0] == 0
    history.see([], 1, after(1801))
    assert history.allow(1, wanted=1, now=after(1801)) == (1, None)
    history = PodHistory()
    history.see(pods(8, finished=True), 1, NOW)
    history.see([], 2, NOW)
    assert history.allow(1, wanted=1, now=NOW) == (1, None)


@pytest.mark.parametrize(
    ("lasting", "generation", "gone_at", "failed"),
    [
        pytest.param(True, 1, 5, True, id="let go in vain"),
        pytest.param(True, 1, 61, False, id="let go later"),
        pytest.param(True, 2, 5, False, id="something else was asked for"),
        pytest.param(False, 1, 5, False, id="of a kind that comes and goes"),
    ],
)
def test_servers_are_not_let_go_at_once(lasting: bool, generation: int, gone_at: float, failed: bool) -> None:
    history = PodHistory()
    history.see(pods(2), 1, NOW, lasting=lasting)
    history.see([], generation, after(gone_at), lasting=lasting)
    assert bool(history.ended) is failed


@pytest.mark.parametrize(
    ("made", "wanted", "asked", "allowed"),
    [
        pytest.param(0, 50, 50, 50, id="from none to fifty"),
        pytest.param(50, 50, 50, 50, id="and all of them anew"),
        pytest.param(0, 1000, 1000, 1000, id="the largest pool"),
        pytest.param(12, 1, 2, 1, id="thirteen for one"),
        pytest.param(13, 1, 1, 0, id="no more"),
    ],
)
def test_pods_within_a_minute(made: int, wanted: int, asked: int, allowed: int) -> None:
    history = PodHistory()
    history.see(pods(made, created=after(-30)), 1, NOW)
    number, held = history.allow(asked, wanted=wanted, now=NOW)
    assert number == allowed
    assert (held is None) == (allowed == asked)
    if held:
        assert (held.problem.reason, held.until) == (reasons.TOO_MANY_PODS, after(30))


def test_a_storm_is_slowed_over_ten_minutes() -> None:
    """Every second a pod is let go and another one wanted."""
    history, made = PodHistory(), 0
    for second in range(3600):
        now = after(second)
        history.see(pods(1, created=now, first=made - 1) if made else [], 1, now)
        number, _ = history.allow(1, wanted=1, now=now)
        made += number
        if number:
            history.made[f"uid-{made - 1}"] = now
    assert made <= 30 * 6 + 13


def test_a_child_that_is_not_kept() -> None:
    brakes = ChildBrakes()
    assert brakes.held("Service a", "d", NOW) is None
    now, waits = NOW, []
    for _ in range(7):
        brakes.written("Service a", "d", now, problem="spec.type was changed by x")
        held = brakes.held("Service a", "d", now)
        assert held is not None
        assert held.problem.message == "spec.type was changed by x"
        waits.append((held.until - now).total_seconds())
        now = held.until
        assert brakes.held("Service a", "d", now) is None
    assert waits == [10, 20, 40, 80, 160, 300, 300]
    assert [one.problem.message for one in brakes.told(now)] == ["spec.type was changed by x"]
    brakes.written("Service a", "d", now)
    assert brakes.told(now) == []


def test_what_is_to_become_of_a_child_meanwhile_is_written_at_once_and_then_waits_half_a_minute_at_most() -> None:
    brakes = ChildBrakes()
    for _ in range(5):
        brakes.written("Service a", "d", NOW, problem="changed")
    for number in range(5):
        assert brakes.held("Service a", f"another {number}", after(number)) is None
        brakes.written("Service a", f"another {number}", after(number), problem="changed")
    held = brakes.held("Service a", "one more", after(4))
    assert held is not None
    assert held.until == after(34)


def test_what_is_to_become_of_a_child_is_not_held_up_by_what_was_wanted_before() -> None:
    brakes, at = ChildBrakes(), list[int]()
    for second in range(600):
        for digest in ("as it was", f"as it is to be {len(at)}"):
            if brakes.held("Secret a", digest, after(second)) is None:
                brakes.written("Secret a", digest, after(second), problem="changed")
                at += [second] if digest != "as it was" else []
    assert at[:2] == [0, 1], "what was wanted before is a change as well"
    assert all(later - sooner <= 60 for sooner, later in pairwise(at))
    assert len(at) <= 24


def test_a_child_that_is_put_right_now_and_then() -> None:
    brakes, now = ChildBrakes(), NOW
    for _ in range(10):
        brakes.written("Service a", "d", now, often="again and again")
        now += timedelta(seconds=1)
        assert brakes.held("Service a", "d", now) is None
    brakes.written("Service a", "d", now, often="again and again")
    assert brakes.held("Service a", "d", now) == Held(
        Problem(reasons.CHILD_CHANGED, "again and again"), now + timedelta(seconds=10)
    )
    assert brakes.told(now + timedelta(seconds=60)), "it is told a while longer"
    assert brakes.told(now + timedelta(seconds=601)) == []
    assert brakes.held("Service b", "d", now) is None


def test_writes_run_out_of_a_bucket_evenly() -> None:
    bucket = Bucket()
    assert bucket.wait(60, NOW) == 0
    bucket.add(60)
    assert bucket.wait(60, NOW) > 0
    assert bucket.wait(60, after(5)) == 0
    bucket.add(5000)
    assert bucket.wait(60, after(5)) <= 61
    assert bucket.wait(60, after(66)) == 0


def test_a_status_is_written_sixty_times_a_minute() -> None:
    bucket, written = Bucket(), 0
    for tick in range(6000):
        if not bucket.wait(STATUS_WRITES_A_MINUTE, after(tick / 10)):
            bucket.add()
            written += 1
    assert written <= 11 * STATUS_WRITES_A_MINUTE


def test_what_was_held_is_told_a_while_longer() -> None:
    """Conditions would turn at each try otherwise."""
    brakes = Brakes("uid")
    brakes.hold("pods", Held(Problem(reasons.BACKING_OFF, "later"), after(10)), NOW)
    assert [held.until for held in brakes.told(NOW)] == [after(10)]
    brakes.hold("pods", None, after(10))
    assert [held.until for held in brakes.told(after(10))] == [after(70)]
    brakes.hold("pods", None, after(70))
    assert brakes.told(after(70)) == []
    brakes.hold("pods", Held(Problem(reasons.BACKING_OFF, "later"), after(100)), after(80))
    brakes.hold("pods", None, after(81))
    assert brakes.told(after(81)) == [], "the spec was changed: nothing is held any more"
