"""Whether rooms may ask a server that lets requests time out: all of them, one at a time, or none for now.

Each request to a server that hangs occupies a worker for ten seconds, and a thousand rooms may want to ask. So after
some time-outs in a row nobody asks for a while; then one does, and the others follow only when it got an answer. Each
pause is twice as long as the one before.
"""

from datetime import datetime, timedelta

# Time-outs in a row before the others are kept from asking.
FAILURES = 3
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(seconds=60)
# An answer that is this late counts as none: it has occupied a worker for as long.
SLOW_SECONDS = 5.0
# How soon to try again while another one asks.
_PROBE_SECONDS = 5.0


class Breaker:
    """The state of one server: every request asks `wait` first, and reports its outcome."""

    def __init__(self) -> None:
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._since: datetime | None = None
        """When the last pause began, None when everybody may ask."""
        self._probing = False

    @property
    def open(self) -> bool:
        """Return whether requests are held back."""
        return self._since is not None

    def wait(self, now: datetime) -> float | None:
        """Return in how many seconds to try again, None when a request may be sent now; it must report its outcome."""
        if self._since is None:
            return None
        waited = now - self._since
        if timedelta() <= waited < self._pause:  # a clock that was set back ends the pause
            return (self._pause - waited).total_seconds()
        if self._probing:
            return _PROBE_SECONDS
        self._probing = True
        return None

    def answered(self) -> bool:
        """Note an answer in time; return whether requests were held back until now."""
        was_open = self.open
        self._failures, self._pause, self._since, self._probing = 0, FIRST_PAUSE, None, False
        return was_open

    def timed_out(self, now: datetime) -> bool:
        """Note a request that timed out; return whether requests are held back from now on."""
        self._failures += 1
        if self._since is not None:
            if self._probing:
                # Those that were on their way before do not make the pause longer.
                self._probing, self._since = False, now
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
            return False
        if self._failures < FAILURES:
            return False
        self._since, self._pause = now, FIRST_PAUSE
        return True

    def abandoned(self, now: datetime) -> None:
        """Note a request whose end does not show whether the server hangs."""
        if self._probing:
            self._probing, self._since = False, now
