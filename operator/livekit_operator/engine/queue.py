"""A de-duplicating work queue with delays and backoff.

A key is in one of four states: absent, waiting for its time, ready, or being worked on. Adding a key that is being
worked on marks it dirty: it becomes ready again when the work is done. So no key is ever worked on twice at once, a
thousand events for a key cost one pass, and no event is lost.
"""

import asyncio
import heapq
import sys
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from livekit_operator.engine.turns import Line, Share, Turns

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 60.0

_ONE_LINE = Line("", "")
_NO_LIMIT = Share(sys.maxsize, sys.maxsize)


class WorkQueue(Generic[K]):
    """Keys to work on, for one event loop; `line_of` says to whom a key belongs, and these take turns."""

    def __init__(
        self,
        clock: Callable[[], float] | None = None,
        *,
        line_of: Callable[[K], Line] = lambda _: _ONE_LINE,
        share: Share = _NO_LIMIT,
    ) -> None:
        self._clock = clock
        self._line_of = line_of
        self._share = share
        self._ready: Turns[K] = Turns(line_of, share)
        self._queued: set[K] = set()
        self._working: set[K] = set()
        self._dirty: set[K] = set()
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = 0
        self._failures: dict[K, int] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many keys are ready to be worked on."""
        return len(self._queued)

    def add(self, key: K) -> None:
        """Make a key ready now; nothing happens when it is ready already."""
        self._due.pop(key, None)
        if key in self._working:
            self._dirty.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put(key)
            self._wake_one()

    def add_after(self, key: K, seconds: float) -> None:
        """Make a key ready in `seconds`, unless it is due before that anyway."""
        due = self._now() + seconds
        if key in self._queued or key in self._dirty or self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, key))
        if len(self._heap) > 2 * len(self._due) + 64:
            # Entries of keys that became ready earlier; a token's renewal would keep one for hours.
            self._heap = [(due, order, key) for order, (key, due) in enumerate(self._due.items())]
            heapq.heapify(self._heap)
        self._set_timer()

    def add_failed(self, key: K) -> float:
        """Make a key ready after a backoff that doubles with each failure in a row; return the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 16), LONGEST_BACKOFF_SECONDS)
        self.add_after(key, delay)
        return delay

    def forget_failures(self, key: K) -> None:
        """Reset the backoff of a key."""
        self._failures.pop(key, None)

    def drop(self, key: K) -> None:
        """Forget the delays and failures of a key whose object is gone."""
        self._due.pop(key, None)
        self._failures.pop(key, None)
        if not self._due:
            self._heap.clear()  # only entries of keys that are due no more

    def clear(self) -> None:
        """Forget all keys, when they are due and how often they failed; nobody may be working on one."""
        assert not self._working, "somebody works"
        self._ready = Turns(self._line_of, self._share)
        for kept in (self._queued, self._dirty, self._due, self._heap, self._failures, self._waiting):
            kept.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def get(self) -> K:
        """Wait for the next ready key and mark it as being worked on."""
        while True:
            self._promote()
            if (key := self._ready.take()) is not None:
                self._queued.discard(key)
                self._working.add(key)
                return key
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            self._set_timer()
            try:
                await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled():
                    self._wake_one()  # it was woken for a key that somebody else must take now
                raise

    def done(self, key: K) -> None:
        """Note that the work on a key is over."""
        self._working.discard(key)
        self._ready.done(key)
        if self._queued:
            self._wake_one()  # perhaps for a line that waited for this
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    @property
    def idle(self) -> bool:
        """Whether no key is ready or being worked on; some may wait for their time."""
        return not self._queued and not self._working

    def _promote(self) -> None:
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                self.add(key)

    def _wake_one(self) -> None:
        """Wake one of the waiting workers: waking all for each key would be most of the work of thousands of keys."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _set_timer(self) -> None:
        """Arrange for keys to become ready when their time comes, while somebody waits for one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap and self._waiting:
            seconds = max(0.0, self._heap[0][0] - self._now())
            self._timer = asyncio.get_running_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._promote()
        self._set_timer()

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()
