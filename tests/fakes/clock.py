"""Clocks that tests move."""

from datetime import UTC, datetime, timedelta


class Clock:
    """Called, it says what time it is."""

    def __init__(self, now: datetime = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


class MovedClock:
    """The time that it is, and what tests have moved it on by."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        """Move it on."""
        self._ahead += timedelta(seconds=seconds)
