"""Events that repeat are counted, many alike become one, and no resource has more than people can read."""

from datetime import timedelta

from livekit_operator.reconciling.event_series import EventSeries, Told
from tests.fakes.clock import Clock


def told(message: str = "m", reason: str = "R", uid: str = "u") -> Told:
    return Told(uid, "Warning", reason, message)


def test_the_same_again_is_counted() -> None:
    clock, events = Clock(), EventSeries()
    first = events.next(told(), clock())
    assert first is not None
    assert (first.count, first.first, first.name) == (1, clock(), None)
    first.name = "written"
    clock.advance(60)
    again = events.next(told(), clock())
    assert again is first
    assert (again.count, again.first) == (2, clock() - timedelta(seconds=60))


def test_others_are_events_of_their_own() -> None:
    clock, events = Clock(), EventSeries()
    others = [told(), told("n"), told(reason="S"), told(uid="v"), Told("u", "Normal", "R", "m")]
    assert [series.count for other in others if (series := events.next(other, clock()))] == [1] * 5


def test_ever_new_messages_of_one_reason_become_one_event() -> None:
    clock, events = Clock(), EventSeries()
    series = [events.next(told(f"message {n}"), clock()) for n in range(13)]
    assert [one.message for one in series[:10] if one] == [f"message {n}" for n in range(10)]
    assert series[10] is series[12]
    assert series[12] is not None
    assert (series[12].count, series[12].message) == (3, "(combined from similar events): message 12")
    clock.advance(11 * 60)
    later = events.next(told("message 99"), clock())
    assert later is not None
    assert later.message == "message 99", "ten minutes later they are told apart again"


def test_a_resource_has_25_at_once_and_then_one_in_five_minutes() -> None:
    clock, events = Clock(), EventSeries()
    assert sum(events.next(told(), clock()) is not None for _ in range(60)) == 25
    assert events.next(told(uid="v"), clock()) is not None, "others have their own"
    clock.advance(5 * 60)
    assert [events.next(told(), clock()) is not None for _ in range(2)] == [True, False]


def test_a_message_is_short_and_the_memory_bounded() -> None:
    clock, events = Clock(), EventSeries()
    series = events.next(told("x\n" * 5000), clock())
    assert series is not None
    assert len(series.message) == 1024
    for n in range(10_000):
        events.next(told(uid=str(n)), clock())
    assert max(len(kept._values) for kept in (events._series, events._alike, events._budgets)) <= 4096
