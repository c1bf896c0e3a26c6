"""Moments are written as Kubernetes writes them."""

from datetime import datetime, timedelta, timezone

import pytest

from livekit_operator.moments import parse_timestamp, timestamp
from tests.unit.operator.test_conditions import NOW


def test_timestamps_are_utc_in_whole_seconds() -> None:
    moment = datetime(2026, 3, 1, 13, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert timestamp(moment) == "2026-03-01T12:00:00Z"
    assert parse_timestamp("2026-03-01T12:00:00Z") == NOW


def test_a_wrong_timestamp_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        parse_timestamp("yesterday")
