"""A pool has pods for its sessions and its buffer, within its limits, and gives none up in haste."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.api.voiceagentpool import Autoscaling, VoiceAgentPoolSpec
from livekit_operator.pools.decisions.autoscaling import Demand, Desired, desired_replicas, minimum_now
from tests.fakes import manifests

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday


def pool_spec(**values: Any) -> VoiceAgentPoolSpec:
    return VoiceAgentPoolSpec.model_validate(manifests.pool(**values)["spec"])


def scaled(sessions_per_pod: int = 4, **values: Any) -> VoiceAgentPoolSpec:
    return pool_spec(sessionsPerPod=sessions_per_pod, autoscaling=values)


def ago(seconds: float, wanted: int) -> tuple[datetime, int]:
    return NOW - timedelta(seconds=seconds), wanted


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


SMALL = scaled(minReplicas=1, maxReplicas=10, bufferSessions=4)
QUARTER = scaled(minReplicas=1, maxReplicas=100, bufferSessions="25%")
FROM_ZERO = scaled(minReplicas=0, maxReplicas=10, bufferSessions=4)


@pytest.mark.parametrize(
    ("spec", "active", "waiting", "expected"),
    [
        pytest.param(pool_spec(), 100, 5, 1, id="nothing said means one"),
        pytest.param(pool_spec(replicas=0), 100, 5, 0, id="a fixed number, even none"),
        pytest.param(pool_spec(replicas=7), 0, 0, 7, id="a fixed number"),
        pytest.param(pool_spec(replicas=3, autoscaling={"mode": "External"}), 100, 9, 3, id="scaled by others"),
        pytest.param(SMALL, 0, 0, 1, id="the buffer fits into the least"),
        pytest.param(SMALL, 1, 0, 2, id="one call takes a place of the buffer"),
        pytest.param(SMALL, 4, 0, 2, id="full pod and buffer"),
        pytest.param(SMALL, 5, 0, 3, id="one more than fits"),
        pytest.param(SMALL, 4, 1, 3, id="who waits needs a place like who speaks"),
        pytest.param(SMALL, 0, 5, 3, id="only waiting"),
        pytest.param(SMALL, 36, 0, 10, id="exactly the most"),
        pytest.param(SMALL, 1000, 0, 10, id="never above the most"),
        pytest.param(scaled(minReplicas=3, bufferSessions=0), 0, 0, 3, id="the least"),
        pytest.param(scaled(bufferSessions=0), 4, 0, 1, id="no buffer: full is enough"),
        pytest.param(QUARTER, 16, 0, 5, id="a quarter more"),
        pytest.param(QUARTER, 17, 0, 6, id="a quarter more, rounded up: 17 and 5"),
        pytest.param(QUARTER, 12, 4, 5, id="a quarter of those who wait, too"),
        pytest.param(QUARTER, 0, 0, 1, id="a quarter of nothing"),
        pytest.param(FROM_ZERO, 0, 0, 0, id="to zero: without demand the buffer does not count"),
        pytest.param(FROM_ZERO, 0, 1, 2, id="from zero: the first who waits, and the buffer"),
        pytest.param(FROM_ZERO, 1, 0, 2, id="the last call keeps its pod and the buffer"),
        pytest.param(
            scaled(minReplicas=0, bufferSessions=8, schedules=[{"start": "08:00", "end": "18:00", "minReplicas": 1}]),
            0,
            0,
            2,
            id="within a schedule the buffer counts",
        ),
    ],
)
def test_desired_replicas(spec: VoiceAgentPoolSpec, active: int, waiting: int, expected: int) -> None:
    assert desired_replicas(spec, Demand(active, waiting), NOW).replicas == expected


@pytest.mark.parametrize(
    ("recent", "expected"),
    [
        pytest.param([], 1, id="nothing remembered"),
        pytest.param([ago(10, 5)], 5, id="more was wanted just now"),
        pytest.param([ago(200, 3), ago(100, 7), ago(10, 5)], 7, id="the most of the window"),
        pytest.param([ago(299, 5)], 5, id="nearly over"),
        pytest.param([ago(300, 5)], 1, id="over"),
        pytest.param([ago(301, 9), ago(20, 2)], 2, id="only what is within"),
        pytest.param([ago(10, 50)], 10, id="never above the most"),
        pytest.param([ago(-60, 9)], 1, id="a clock that was put back"),
    ],
)
def test_fewer_pods_only_when_nothing_more_was_wanted_for_a_while(
    recent: list[tuple[datetime, int]], expected: int
) -> None:
    assert desired_replicas(SMALL, Demand(0, 0), NOW, recent).replicas == expected


def test_more_pods_come_at_once() -> None:
    assert desired_replicas(SMALL, Demand(20, 0), NOW, [ago(5, 1)]).replicas == 6


def test_a_window_of_no_length_never_holds() -> None:
    spec = scaled(scaleDownStabilizationSeconds=0)
    assert desired_replicas(spec, Demand(0, 0), NOW, [ago(0, 9), ago(1, 9)]).replicas == 1


def test_a_lower_least_holds_at_once() -> None:
    """The window is for what calls ask for, not for what people change."""
    before = desired_replicas(scaled(minReplicas=8), Demand(0, 0), NOW)
    assert desired_replicas(SMALL, Demand(0, 0), NOW, [(NOW, before.wanted)]).replicas == 1


@pytest.mark.parametrize(
    ("spec", "demand", "recent", "expected"),
    [
        pytest.param(pool_spec(replicas=2), Demand(1, 0), [], "2 pods by spec.replicas.", id="fixed"),
        pytest.param(pool_spec(), Demand(1, 0), [], "1 pod by the default.", id="nothing said"),
        pytest.param(
            SMALL,
            Demand(5, 2),
            [],
            "5 active and 2 waiting sessions and a buffer of 4 need 3 pods.",
            id="by sessions",
        ),
        pytest.param(scaled(minReplicas=6), Demand(0, 0), [], "6 pods by minReplicas.", id="the least"),
        pytest.param(
            scaled(schedules=[{"start": "08:00", "end": "18:00", "minReplicas": 3}]),
            Demand(0, 0),
            [],
            "3 pods by minReplicas of a schedule.",
            id="the least of a schedule",
        ),
        pytest.param(
            SMALL,
            Demand(0, 0),
            [ago(10, 5)],
            "5 pods were wanted within scaleDownStabilizationSeconds; 1 would do now.",
            id="held",
        ),
        pytest.param(
            SMALL,
            Demand(40, 3),
            [],
            "12 pods are wanted and maxReplicas is 10: 3 sessions left without a place.",
            id="without a place",
        ),
        pytest.param(
            SMALL,
            Demand(38, 0),
            [],
            "11 pods are wanted and maxReplicas is 10: every session has a place, but fewer than wanted are free for "
            "the next ones.",
            id="only the buffer suffers",
        ),
    ],
)
def test_the_reason_is_a_sentence(
    spec: VoiceAgentPoolSpec, demand: Demand, recent: list[tuple[datetime, int]], expected: str
) -> None:
    assert desired_replicas(spec, demand, NOW, recent).reason == expected


def test_a_reached_limit_says_what_would_be_wanted_without_it() -> None:
    decided = desired_replicas(SMALL, Demand(40, 3), NOW)
    assert (decided.replicas, decided.limited, decided.wanted, decided.minimum) == (10, True, 12, 1)


def test_exactly_the_most_is_no_limit() -> None:
    assert not desired_replicas(SMALL, Demand(36, 0), NOW).limited


def schedule(start: str, end: str, zone: str = "UTC", days: tuple[str, ...] = (), replicas: int = 5) -> Autoscaling:
    window = {"start": start, "end": end, "timeZone": zone, "days": list(days), "minReplicas": replicas}
    return Autoscaling.model_validate({"minReplicas": 1, "schedules": [window]})


WORKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
OFFICE = schedule("08:00", "18:00", "Europe/Berlin", WORKDAYS)
NIGHT = schedule("22:00", "06:00", days=("Friday",))
# Clocks go from 02:00 to 03:00 on 8 March and from 02:00 to 01:00 on 1 November (New York); at midnight in Beirut.
GAP = schedule("02:30", "04:00", "America/New_York")
TWICE = schedule("01:15", "01:45", "America/New_York")
WHOLE_NIGHT = schedule("22:00", "06:00", "America/New_York", ("Saturday",))
MIDNIGHT = schedule("00:30", "02:00", "Asia/Beirut", ("Sunday",))


@pytest.mark.parametrize(
    ("scaling", "now", "expected"),
    [
        pytest.param(OFFICE, "2026-03-04T06:59:59", 1, id="a second before it starts in winter"),
        pytest.param(OFFICE, "2026-03-04T07:00:00", 5, id="starts in winter"),
        pytest.param(OFFICE, "2026-03-04T16:59:59", 5, id="its last second"),
        pytest.param(OFFICE, "2026-03-04T17:00:00", 1, id="ends"),
        pytest.param(OFFICE, "2026-07-01T06:00:00", 5, id="starts in summer"),
        pytest.param(OFFICE, "2026-07-01T16:00:00", 1, id="ends in summer"),
        pytest.param(OFFICE, "2026-03-07T10:00:00", 1, id="not on Saturday"),
        pytest.param(NIGHT, "2026-03-06T21:59:00", 1, id="Friday, before"),
        pytest.param(NIGHT, "2026-03-06T23:00:00", 5, id="Friday night"),
        pytest.param(NIGHT, "2026-03-07T05:59:00", 5, id="the night of Friday lasts into Saturday"),
        pytest.param(NIGHT, "2026-03-07T06:00:00", 1, id="until morning"),
        pytest.param(NIGHT, "2026-03-07T23:00:00", 1, id="Saturday night is not Friday's"),
        pytest.param(NIGHT, "2026-03-06T05:00:00", 1, id="Friday morning belongs to Thursday's night"),
        pytest.param(GAP, "2026-03-08T06:29:00", 1, id="a start that clocks jump over: not yet"),
        pytest.param(GAP, "2026-03-08T07:30:00", 5, id="a start that clocks jump over: within"),
        pytest.param(GAP, "2026-03-08T07:59:00", 5, id="the end is by the new time"),
        pytest.param(GAP, "2026-03-08T08:00:00", 1, id="over by the new time"),
        pytest.param(TWICE, "2026-11-01T05:14:00", 1, id="an hour that comes twice: not yet"),
        pytest.param(TWICE, "2026-11-01T05:15:00", 5, id="starts at the first"),
        pytest.param(TWICE, "2026-11-01T06:44:00", 5, id="lasts to the second"),
        pytest.param(TWICE, "2026-11-01T06:45:00", 1, id="ends at the second"),
        pytest.param(WHOLE_NIGHT, "2026-03-08T09:59:00", 5, id="a short night ends at six by the new time"),
        pytest.param(WHOLE_NIGHT, "2026-03-08T10:00:00", 1, id="a short night is over"),
        pytest.param(WHOLE_NIGHT, "2026-11-01T10:59:00", 5, id="a long night ends at six by the new time"),
        pytest.param(WHOLE_NIGHT, "2026-11-01T11:00:00", 1, id="a long night is over"),
        pytest.param(MIDNIGHT, "2026-03-28T21:29:00", 1, id="no midnight at all: not yet"),
        pytest.param(MIDNIGHT, "2026-03-28T21:45:00", 5, id="no midnight at all: Sunday's window, read early"),
        pytest.param(MIDNIGHT, "2026-03-28T22:59:00", 5, id="no midnight at all: within"),
        pytest.param(MIDNIGHT, "2026-03-28T23:00:00", 1, id="no midnight at all: over"),
        pytest.param(schedule("00:00", "23:59", "Pacific/Kiritimati"), "2026-03-04T10:00:00", 5, id="far ahead of UTC"),
    ],
)
def test_a_schedule_holds_by_its_own_clock(scaling: Autoscaling, now: str, expected: int) -> None:
    assert minimum_now(scaling, utc(now)) == expected


@pytest.mark.parametrize(
    ("base", "others", "expected"),
    [
        pytest.param(1, [3, 7, 5], 7, id="the most of those that hold"),
        pytest.param(4, [2], 4, id="a schedule never lowers the least"),
        pytest.param(2, [], 2, id="no schedule"),
    ],
)
def test_schedules_that_overlap(base: int, others: list[int], expected: int) -> None:
    windows = [{"start": "08:00", "end": "18:00", "minReplicas": number} for number in others]
    assert minimum_now(Autoscaling.model_validate({"minReplicas": base, "schedules": windows}), NOW) == expected


@pytest.mark.parametrize("zone", ["Mars/Base", "America", "utc+1", "x" * 64])
def test_an_unknown_time_zone_is_named(zone: str) -> None:
    with pytest.raises(ValueError, match=f"no time zone '{zone.replace('+', '.')}'"):
        minimum_now(schedule("08:00", "18:00", zone), NOW)


scaling = st.builds(
    lambda least, more, buffer, size: scaled(
        size, minReplicas=least, maxReplicas=max(1, least + more), bufferSessions=buffer
    ),
    st.integers(0, 50),
    st.integers(0, 200),
    st.integers(0, 500) | st.integers(0, 300).map(lambda share: f"{share}%"),
    st.integers(1, 20),
)
demands = st.builds(Demand, st.integers(0, 5000), st.integers(0, 200))
memories = st.lists(st.builds(ago, st.floats(0, 900), st.integers(0, 300)), max_size=8)


@given(scaling, demands, memories)
def test_stays_within_the_limits(spec: VoiceAgentPoolSpec, demand: Demand, recent: list[tuple[datetime, int]]) -> None:
    assert spec.autoscaling is not None
    decided = desired_replicas(spec, demand, NOW, recent)
    assert spec.autoscaling.min_replicas <= decided.replicas <= spec.autoscaling.max_replicas
    assert decided.limited == (decided.wanted > spec.autoscaling.max_replicas)


@given(scaling, demands, demands, memories)
def test_more_calls_never_mean_fewer_pods(
    spec: VoiceAgentPoolSpec, one: Demand, other: Demand, recent: list[tuple[datetime, int]]
) -> None:
    few, many = sorted((one, other), key=lambda demand: demand.sessions)
    assert desired_replicas(spec, few, NOW, recent).replicas <= desired_replicas(spec, many, NOW, recent).replicas


@given(scaling, demands)
def test_there_is_room_for_every_call_and_no_pod_too_many(spec: VoiceAgentPoolSpec, demand: Demand) -> None:
    assert spec.autoscaling is not None
    desired = desired_replicas(spec, demand, NOW)
    size, least, most = spec.sessions_per_pod, spec.autoscaling.min_replicas, spec.autoscaling.max_replicas
    assert desired.replicas * size >= demand.sessions or desired.replicas == most
    buffer = spec.autoscaling.buffer_sessions
    if isinstance(buffer, int):
        needed = demand.sessions + (buffer if demand.sessions or least else 0)
        assert desired.replicas * size >= needed or desired.replicas == most
        assert (desired.replicas - 1) * size < needed or desired.replicas == least


@given(st.lists(st.tuples(st.floats(1, 120), st.integers(0, 60)), min_size=1, max_size=40))
def test_never_goes_down_within_the_window_of_a_higher_demand(looks: list[tuple[float, int]]) -> None:
    """Looks follow each other with any demand: what is kept is the most that the last five minutes wanted."""
    spec = scaled(minReplicas=0, maxReplicas=1000)
    now, history = NOW, list[tuple[datetime, Desired]]()
    for wait, active in looks:
        now += timedelta(seconds=wait)
        recent = [(moment, decided.wanted) for moment, decided in history]
        history.append((now, desired_replicas(spec, Demand(active, 0), now, recent)))
        window = [decided.wanted for moment, decided in history if (now - moment).total_seconds() < 300]
        assert history[-1][1].replicas == max(window)
