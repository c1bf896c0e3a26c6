"""Events that repeat are counted in one object, and no resource makes more of them than people can read.

As client-go does for Kubernetes' own controllers (k8s.io/client-go tools/record/events_cache.go EventCorrelator): the
same message again counts up its Event; one reason with ever new messages becomes one Event after ten of them; and each
resource has 25 at once and then one in five minutes.
"""

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

from livekit_operator.outside import said

V = TypeVar("V")

_MOST_MESSAGE = 1024  # of an Event: k8s.io/kubernetes pkg/apis/core/validation/events.go
_BURST = 25
_REFILL = timedelta(minutes=5)
_MOST_ALIKE = 10
_ALIKE_WITHIN = timedelta(minutes=10)
_COMBINED = "(combined from similar events): "
# What is remembered of each kind; beyond that the oldest is forgotten, and starts over.
_MOST_REMEMBERED = 4096


class Told(NamedTuple):
    """What an Event is about; `message` is empty for the one that stands for many."""

    uid: str
    type: str
    reason: str
    message: str


@dataclass
class Series:
    """One Event object: its name, once it is written, how often it happened, since when, and the last message."""

    told: Told
    first: datetime
    message: str
    count: int = 0
    name: str | None = None


@dataclass
class _Alike:
    """Messages of one reason; of a resource, within some minutes."""

    since: datetime
    messages: set[str] = field(default_factory=set)


class _Recent(Generic[V]):
    """The last few thousand by key."""

    def __init__(self) -> None:
        self._values: OrderedDict[tuple[str, ...], V] = OrderedDict()
        self._of: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
        """uid, with which every key begins -> its keys."""

    def get(self, key: tuple[str, ...], otherwise: V) -> V:
        value = self._values.setdefault(key, otherwise)
        self._values.move_to_end(key)
        self._of[key[0]].add(key)
        if len(self._values) > _MOST_REMEMBERED:
            oldest, _ = self._values.popitem(last=False)
            self._of[oldest[0]].discard(oldest)
            if not self._of[oldest[0]]:
                del self._of[oldest[0]]
        return value

    def put(self, key: tuple[str, ...], value: V) -> None:
        self._values[key] = value

    def forget(self, uid: str) -> None:
        for key in self._of.pop(uid, ()):
            del self._values[key]

    def clear(self) -> None:
        self._values.clear()
        self._of.clear()


class EventSeries:
    """Which Events were written of which resource, in memory only: a restarted operator begins new ones."""

    def __init__(self) -> None:
        self._series: _Recent[Series] = _Recent()
        self._alike: _Recent[_Alike] = _Recent()
        self._budgets: _Recent[tuple[float, datetime]] = _Recent()

    def next(self, told: Told, now: datetime) -> Series | None:
        """Return the series that an Event belongs to, with it counted; None when it is one too many."""
        if not self._affords(told.uid, now):
            return None
        message = said(told.message, _MOST_MESSAGE)
        told = told._replace(message=message)
        alike = self._alike.get(told[:3], _Alike(now))
        if now - alike.since > _ALIKE_WITHIN:
            alike.since, alike.messages = now, set()
        alike.messages.add(message)
        if len(alike.messages) > _MOST_ALIKE:
            alike.messages = set(sorted(alike.messages)[:_MOST_ALIKE]) | {message}
            message = said(_COMBINED + message, _MOST_MESSAGE)
            told = told._replace(message="")
        series = self._series.get(told, Series(told, now, message))
        series.count += 1
        series.message = message
        return series

    def forget(self, uid: str) -> None:
        """Forget what was told of a resource that is gone."""
        for recent in (self._series, self._alike, self._budgets):
            recent.forget(uid)

    def forget_all(self) -> None:
        """Forget what was told of anything: every Event begins a new series."""
        for recent in (self._series, self._alike, self._budgets):
            recent.clear()

    def _affords(self, uid: str, now: datetime) -> bool:
        left, since = self._budgets.get((uid,), (float(_BURST), now))
        gained = max(timedelta(), now - since) / _REFILL
        left = min(float(_BURST), left + gained)
        affords = left >= 1
        self._budgets.put((uid,), (left - affords, now))
        return affords
