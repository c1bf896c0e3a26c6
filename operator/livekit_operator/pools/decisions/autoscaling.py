"""How many pods a pool should have: a pure decision on sessions, never on CPU.

    sessions and rooms that wait, and the free buffer -> so many pods are wanted
    fewer than lately                                 -> not before the stabilization window is over
    within minReplicas (or a schedule's) and maxReplicas

Easiest to get wrong:

- What was wanted lately is remembered as it was before the window. Remembering the outcome would renew itself and
  never come down.
- With minReplicas 0 the buffer alone would keep one pod for ever: it counts only while there is demand.
- Two aware datetimes of one time zone compare by their clocks, not by time: windows are compared in UTC.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from livekit_operator.api.voiceagentpool import Autoscaling, Schedule, VoiceAgentPoolSpec
from livekit_operator.percentages import resolve

# In the order of `date.weekday`; `strftime` would answer in the operator's language.
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Demand:
    """Sessions on pods that stay, and rooms that wait for an agent."""

    active: int
    waiting: int

    @property
    def sessions(self) -> int:
        """Return how many places are needed now."""
        return self.active + self.waiting


@dataclass(frozen=True)
class Desired:
    """How many pods are wanted, and why."""

    replicas: int
    reason: str
    """One sentence."""
    limited: bool
    """Whether more would be wanted than `maxReplicas` allows."""
    wanted: int
    """What the demand and its buffer ask for now: before limits and window. This is what to hand in as `recent`."""
    minimum: int
    """Pods that are always there at this time."""


def desired_replicas(
    spec: VoiceAgentPoolSpec, demand: Demand, now: datetime, recent: Sequence[tuple[datetime, int]] = ()
) -> Desired:
    """Return the number of pods wanted now; `recent` is what was `wanted` in former passes, and when.

    Without autoscaling, and where others scale (mode External): the number that was asked for, 1 when none was.
    Raises ValueError for a schedule with an unknown time zone.
    """
    scaling = spec.autoscaling
    if scaling is None or scaling.mode == "External":
        fixed = 1 if spec.replicas is None else spec.replicas
        asked = "the default" if spec.replicas is None else "spec.replicas"
        return Desired(fixed, f"{_count(fixed, 'pod')} by {asked}.", limited=False, wanted=fixed, minimum=fixed)
    minimum, maximum = minimum_now(scaling, now), scaling.max_replicas
    buffer = resolve(scaling.buffer_sessions, demand.sessions) if demand.sessions or minimum else 0
    wanted = -(-(demand.sessions + buffer) // spec.sessions_per_pod)
    held = max([wanted, *_within(recent, now, scaling.scale_down_stabilization_seconds)])
    needed = max(wanted, minimum)
    replicas = min(max(held, minimum), maximum)
    if needed > maximum:
        reason = _limited(spec, demand, needed, maximum)
    elif replicas > needed:
        reason = f"{_count(held, 'pod')} were wanted within scaleDownStabilizationSeconds; {needed} would do now."
    elif minimum > wanted:
        scheduled = minimum > scaling.min_replicas
        reason = f"{_count(minimum, 'pod')} by minReplicas{' of a schedule' if scheduled else ''}."
    else:
        reason = f"{_demand(demand)} and a buffer of {buffer} need {_count(wanted, 'pod')}."
    return Desired(replicas, reason, limited=needed > maximum, wanted=wanted, minimum=min(minimum, maximum))


def minimum_now(autoscaling: Autoscaling, now: datetime) -> int:
    """Return the pods that are always there at this time: the most of minReplicas and of the schedules' that hold.

    Raises ValueError naming a time zone that is not known.
    """
    holding = [schedule.min_replicas for schedule in autoscaling.schedules if _holds(schedule, now)]
    return max([autoscaling.min_replicas, *holding])


def _within(recent: Sequence[tuple[datetime, int]], now: datetime, seconds: int) -> Iterator[int]:
    horizon = now - timedelta(seconds=seconds)
    return (wanted for moment, wanted in recent if horizon < moment <= now)


def _holds(schedule: Schedule, now: datetime) -> bool:
    """Return whether the schedule's window is open; the days are those on which it opens."""
    zone = _zone(schedule.time_zone)
    start, end = time.fromisoformat(schedule.start), time.fromisoformat(schedule.end)
    length = timedelta(days=1 if end <= start else 0)
    today = now.astimezone(zone).date()
    # Tomorrow's may have begun: where clocks jump at midnight, its start may be read as an hour earlier.
    for day in (today - timedelta(days=1), today, today + timedelta(days=1)):
        wanted = not schedule.days or _WEEKDAYS[day.weekday()] in schedule.days
        if wanted and min(_readings(day, start, zone)) <= now < max(_readings(day + length, end, zone)):
            return True
    return False


def _readings(day: date, clock: time, zone: ZoneInfo) -> list[datetime]:
    """Return the moments at which clocks may be said to show this time: two where they are changed (PEP 495).

    Taking the earlier start and the later end, a window is never shorter than it was written.
    """
    return [datetime.combine(day, clock.replace(fold=fold), zone).astimezone(UTC) for fold in (0, 1)]


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: the name of a folder, or far too long
        raise ValueError(f"spec.autoscaling.schedules: there is no time zone {name!r}: choose another one.") from error


def _limited(spec: VoiceAgentPoolSpec, demand: Demand, needed: int, maximum: int) -> str:
    opening = f"{_count(needed, 'pod')} are wanted and maxReplicas is {maximum}"
    without_place = demand.sessions - maximum * spec.sessions_per_pod
    if without_place > 0:
        return f"{opening}: {_count(without_place, 'session')} left without a place."
    return f"{opening}: every session has a place, but fewer than wanted are free for the next ones."


def _demand(demand: Demand) -> str:
    return f"{demand.active} active and {demand.waiting} waiting sessions"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
