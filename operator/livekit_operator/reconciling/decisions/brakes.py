"""Brakes: how often something is created, replaced or written at most. Pure decisions, and their state.

Normal work is never slowed. For each resource:

    pods that end soon after they were created -> each is replaced once at once, then after 10 s, 20 s … 5 min
    pods created, whatever became of former    -> 10 and 3 for each wanted one in a minute, 20 and 10 in ten minutes
    a child that does not stay as written      -> reported, and written again after 10 s, 20 s … 5 min
    a child that others keep changing          -> corrected at once ten times, then the same
    writes of everything                       -> 120 and 12 for each child in a minute
    writes of its status                       -> 60 in a minute

A change of the spec resets them: whoever fixed the cause need not wait. A condition reports what is held back. Existing
pods have their creation times, so that a restart of the operator forgets little.

Compare: ReplicaSet's slow start, the kubelet's CrashLoopBackOff (10 s to 5 min, forgotten after ten good minutes).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from livekit_operator import reasons
from livekit_operator.errors import Problem
from livekit_operator.reasons import Reason

FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=5)
# A pod that lived longer did not fail: it served, and its end has causes of its own.
_SOON = timedelta(minutes=10)
# One that this operator itself, or anybody, deletes so soon was created in vain.
_IN_VAIN = timedelta(seconds=60)
# Longer than the longest pause, or the pauses would never grow up to it.
_REMEMBERED = timedelta(minutes=30)
_MINUTE, _TEN_MINUTES = timedelta(minutes=1), timedelta(minutes=10)
# How often the same child is corrected at once.
_PUT_RIGHT_AT_ONCE = 10
# When what is wanted of a child changes while it does not stay as written: how often that is written at once,
_CHANGED_AT_ONCE = 5
# and then not waited for too long.
_CHANGED_PAUSE = timedelta(seconds=30)
_KNOWN_CHILDREN = 64
# How long it is still reported that something was held back.
_LINGERS = timedelta(seconds=60)
_NEVER = datetime.min.replace(tzinfo=UTC)
WRITES_A_MINUTE, WRITES_OF_A_CHILD = 120, 12
STATUS_WRITES_A_MINUTE = 60


def pause(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row."""
    return min(FIRST_PAUSE * 2 ** min(failures - 1, 10), LONGEST_PAUSE) if failures > 0 else timedelta()


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class Held:
    """What is held back, as a condition tells of it, and until when."""

    problem: Problem
    until: datetime

    def seconds(self, now: datetime) -> float:
        """Return how long that is from now, in seconds."""
        return max(0.1, (self.until - now).total_seconds())


@dataclass(frozen=True)
class MadePod:
    """A pod as its brake sees it: by itself `finished`, with which `words`, or told to leave."""

    uid: str
    created: datetime
    finished: bool = False
    leaving: bool = False
    words: str = ""


@dataclass
class PodHistory:
    """When a resource's pods of one kind were created, and which of them were of no use."""

    made: dict[str, datetime] = field(default_factory=dict)
    """Uid -> when."""
    ended: dict[str, datetime] = field(default_factory=dict)
    """Uid of a pod that ended soon after it was made -> when that was seen."""
    words: str = ""
    """What is known of the last end."""
    _generation: int | None = None
    _asked: datetime | None = None
    """When the spec was last changed."""

    def see(self, pods: Iterable[MadePod], generation: int, now: datetime, *, lasting: bool = False) -> None:
        """Note the existing pods; `lasting` ones are not deleted a moment after their creation without a change."""
        if generation != self._generation:
            if self._generation is not None:
                self._asked = now
                self.ended.clear()
            self._generation = generation
        present = {pod.uid: pod for pod in pods}
        for pod in present.values():
            self.made.setdefault(pod.uid, pod.created)
            if pod.finished and now - pod.created <= _SOON:
                self.fail(pod.uid, pod.words, now)
        for uid, created in self.made.items() if lasting else ():
            gone = uid not in present or present[uid].leaving
            wanted_otherwise = self._asked is not None and created <= self._asked
            if gone and uid not in self.ended and now - created <= _IN_VAIN and not wanted_otherwise:
                self.fail(uid, "", now)
        self.made = {uid: at for uid, at in self.made.items() if uid in present or now - at < _TEN_MINUTES}
        self.ended = {uid: at for uid, at in self.ended.items() if now - at < _REMEMBERED}

    def fail(self, uid: str, words: str, now: datetime) -> None:
        """Note that a pod was of no use."""
        if uid not in self.ended:
            self.ended[uid] = now
            self.words = words

    def allow(self, number: int, *, wanted: int, now: datetime) -> tuple[int, Held | None]:
        """Return how many of `number` pods may be made now, and what holds the others back."""
        places = max(1, wanted)
        # Each is replaced once at once: a lost node takes many pods with it.
        rounds = -(-(len(self.ended) - places) // places)
        if number > 0 and (after := pause(rounds)) and now < (until := max(self.ended.values()) + after):
            return 0, Held(Problem(reasons.BACKING_OFF, self._backing_off(until)), until)
        for span, most, since in (
            (_MINUTE, 10 + 3 * places, None),
            (_TEN_MINUTES, 20 + 10 * places, self._asked),
        ):
            recent = sorted(at for at in self.made.values() if now - at < span and (since is None or at >= since))
            left = most - len(recent)
            if left < number:
                until = recent[max(0, len(recent) - most)] + span if recent else now + span
                words = self._too_many(len(recent), span, wanted, until)
                return max(0, left), Held(Problem(reasons.TOO_MANY_PODS, words), until)
        return number, None

    def _backing_off(self, until: datetime) -> str:
        last = f", the last one so: {self.words.rstrip('.')}" if self.words else ""
        return (
            f"{len(self.ended)} pods ended or were removed soon after they were made{last}. The next one is made at "
            f"{_shown(until)}, or when the spec changes. See the pods' Events and logs, and what else changes or "
            f"removes pods in this namespace."
        )

    def _too_many(self, number: int, span: timedelta, wanted: int, until: datetime) -> str:
        return (
            f"{number} pods were made within {span.total_seconds() / 60:.0f} min where {wanted} are wanted: something "
            f"ends or removes them, or changes again and again what they are made of. The next one is made at "
            f"{_shown(until)}. See their Events, and which policies and controllers change pods or Secrets here."
        )


@dataclass(slots=True)
class _Kept:
    """Whether a child, or a status, stays as it is written."""

    digest: str
    count: int = 0
    """How often the same was written, each time soon after the last."""
    strikes: int = 0
    """How often in a row it was not kept."""
    last: datetime = _NEVER
    problem: str = ""
    changes: int = 0
    """How often what is wanted of it changed, each time soon after the last."""
    changed: datetime = _NEVER

    @property
    def until(self) -> datetime:
        return self.last + max(pause(self.strikes), pause(self.count - _PUT_RIGHT_AT_ONCE))

    @property
    def told_until(self) -> datetime:
        told = self.strikes > 0 or self.count > _PUT_RIGHT_AT_ONCE
        return self.last + 2 * LONGEST_PAUSE if told else _NEVER


class ChildBrakes:
    """Which children do not stay as they are written; a name is any text that distinguishes them."""

    def __init__(self, reason: Reason = reasons.CHILD_CHANGED, changed_pause: timedelta = _CHANGED_PAUSE) -> None:
        self._reason = reason
        self._changed_pause = changed_pause
        self._known: dict[str, _Kept] = {}

    def held(self, name: str, digest: str, now: datetime) -> Held | None:
        """Return what holds back writing a child now."""
        known = self._known.get(name)
        if known is None:
            return None
        until = known.until
        if digest != known.digest:
            # Not from the last write of all: what was wanted before may be written once more in the same pass.
            waits = known.changes >= _CHANGED_AT_ONCE
            until = min(until, known.changed + self._changed_pause if waits else _NEVER)
        return Held(Problem(self._reason, known.problem), until) if now < min(until, known.told_until) else None

    def is_same(self, name: str, digest: str) -> bool:
        """Return whether this is what was written last."""
        known = self._known.get(name)
        return known is not None and known.digest == digest

    def is_often(self, name: str, digest: str) -> bool:
        """Return whether the next write of the same, if it comes soon, will be reported."""
        known = self._known.get(name)
        return known is not None and known.digest == digest and known.count >= _PUT_RIGHT_AT_ONCE

    def strikes(self, name: str) -> int:
        """Return how often in a row a child was not kept as it was written."""
        known = self._known.get(name)
        return known.strikes if known else 0

    def written(self, name: str, digest: str, now: datetime, *, problem: str = "", often: str = "") -> None:
        """Note that a child was written; `problem` says that it was not kept, `often` what to say if that goes on."""
        known = self._known.get(name)
        if known is None:
            self._forget_old(now)
            known = self._known[name] = _Kept(digest)
        again = known.count > 0 and known.digest == digest and now - known.last < _TEN_MINUTES
        if known.digest != digest:
            known.changes = known.changes + 1 if now - known.changed < _TEN_MINUTES else 1
            known.changed = now
        known.count = 0 if problem else known.count + 1 if again else 1
        known.strikes = known.strikes + 1 if problem else 0
        known.digest, known.last, known.problem = digest, now, problem or often

    def kept(self, name: str) -> None:
        """Note that a child is as it should be."""
        known = self._known.get(name)
        if known is not None and known.strikes:
            del self._known[name]

    def told(self, now: datetime) -> list[Held]:
        """Return what is to be reported."""
        return [
            Held(Problem(self._reason, one.problem), one.until if now < one.until else one.told_until)
            for one in self._known.values()
            if now < one.told_until
        ]

    def _forget_old(self, now: datetime) -> None:
        if len(self._known) >= _KNOWN_CHILDREN:
            self._known = {n: one for n, one in self._known.items() if one.strikes or now - one.last < _TEN_MINUTES}


@dataclass(slots=True)
class Bucket:
    """Writes within about a minute: it runs out evenly, as much as is allowed in a minute."""

    level: float = 0.0
    at: datetime | None = None

    def add(self, number: int = 1) -> None:
        """Note writes."""
        self.level += number

    def wait(self, most: int, now: datetime) -> float:
        """Return for how many seconds there may be no more writes, 0 when there may."""
        if self.at is not None:
            gone = max(0.0, (now - self.at).total_seconds())
            # Whatever one pass wrote, the next one comes within a minute.
            self.level = max(0.0, min(self.level, 2.0 * most - 1) - gone * most / 60)
        self.at = now
        return 0.0 if self.level < most else (self.level - most) * 60 / most + 1.0


@dataclass(slots=True)
class Brakes:
    """All brakes of one resource, which is known by its uid."""

    uid: str = ""
    writes: Bucket = field(default_factory=Bucket)
    statuses: Bucket = field(default_factory=Bucket)
    pods: dict[str, PodHistory] = field(default_factory=dict)
    """Kind of pod -> when they were made."""
    children: ChildBrakes = field(default_factory=ChildBrakes)
    status: ChildBrakes = field(default_factory=lambda: ChildBrakes(reasons.STATUS_CHANGED, timedelta()))
    holds: dict[str, Held] = field(default_factory=dict)
    """What is held back -> why, as the last pass found it."""

    def hold(self, what: str, held: Held | None, now: datetime) -> None:
        """Note at each pass whether something is held back; it stays reported for a while, or conditions would flap."""
        before = self.holds.get(what)
        if held is not None:
            self.holds[what] = held
        elif before is not None and not before.until <= now < before.until + _LINGERS:
            del self.holds[what]

    def told(self, now: datetime) -> list[Held]:
        """Return everything that a condition is to report."""
        return [
            *(
                replace(held, until=held.until if now < held.until else held.until + _LINGERS)
                for held in self.holds.values()
                if now < held.until + _LINGERS
            ),
            *self.children.told(now),
            *self.status.told(now),
        ]
