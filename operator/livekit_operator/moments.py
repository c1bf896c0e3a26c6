"""Moments as Kubernetes writes them."""

from datetime import UTC, datetime
from typing import Any, TypeVar

K = TypeVar("K")


def timestamp(moment: datetime) -> str:
    """Return the moment as Kubernetes writes it: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> datetime:
    """Return the moment of an RFC 3339 text; raises ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return moment


def no_later(moment: datetime | None, now: datetime) -> datetime | None:
    """Return a moment that was noted before, or now, if a clock that was ahead noted one that is yet to come."""
    return moment and min(moment, now)


def all_no_later(noted: dict[K, datetime], now: datetime) -> dict[K, datetime]:
    """Return moments by their keys, those that are yet to come as now."""
    return {key: min(moment, now) for key, moment in noted.items()}


def read_moment(text: Any) -> datetime | None:
    """Return the moment that somebody's text names, None when it is none or too far away to reckon with."""
    try:
        moment = parse_timestamp(text).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if 1970 <= moment.year < 3000 else None
