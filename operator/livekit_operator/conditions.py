"""Conditions: how one observation becomes part of a status, and when it causes an Event.

A condition is a sentence about now. `lastTransitionTime` moves only when the status value moves.
Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from livekit_operator import reasons
from livekit_operator.constants import (
    CONDITION_AGENTS_AVAILABLE,
    CONDITION_DEGRADED,
    CONDITION_PROGRESSING,
    CONDITION_READY,
)
from livekit_operator.errors import Problem
from livekit_operator.moments import timestamp
from livekit_operator.outside import MOST_MESSAGE, said
from livekit_operator.reasons import Reason


@dataclass(frozen=True)
class Observed:
    """One condition as decided now; `status` None means Unknown."""

    type: str
    status: bool | None
    reason: Reason
    message: str

    def __post_init__(self) -> None:
        """Bound the message: servers, pods, the kubelet and the API server may have words in it."""
        object.__setattr__(self, "message", said(self.message, MOST_MESSAGE))

    @classmethod
    def ready(cls, message: str) -> "Observed":
        """Return `Ready=True`."""
        return cls(CONDITION_READY, True, reasons.READY, message)

    @classmethod
    def not_ready(cls, problem: Problem) -> "Observed":
        """Return `Ready=False` for a problem."""
        return cls.told(CONDITION_READY, False, problem)

    @classmethod
    def told(cls, kind: str, status: bool | None, problem: Problem) -> "Observed":
        """Return a condition of any type that a problem is the reason of."""
        return cls(kind, status, problem.reason, problem.message)


@dataclass(frozen=True)
class Transition:
    """A change that people should hear of; `type` is the Event's type, Normal or Warning."""

    type: str
    reason: Reason
    message: str


# Reasons of Ready=False that are a step on the way when a resource is new.
PROGRESS_REASONS = frozenset(
    {
        reasons.PROGRESSING,
        reasons.SERVER_NOT_READY,
        reasons.NO_WORKER_REGISTERED,
        reasons.ALL_WORKERS_FULL,
        reasons.DISPATCH_PENDING,
    }
)
# Reasons of Ready=False that somebody asked for.
WANTED_REASONS = frozenset({reasons.ROLLING_OUT, reasons.SCALED_TO_ZERO})

# Reasons of Ready=False of a server that is on its way, or as somebody asked for it: nothing is wrong with it.
UNDEGRADED_REASONS = frozenset(
    {reasons.PROGRESSING, reasons.SCALED_TO_ZERO, reasons.DELETING, reasons.NAMESPACE_TERMINATING}
)

# Progress that people wait for, and that others' calls decide about.
TOLD_PROGRESS = frozenset({reasons.WAITING_FOR_ROOMS, reasons.ROTATING_KEYS})

_BRACKETS = re.compile(r"\[([^\[\],;]*)\]")
_DIVIDERS = re.compile(r"[,;\[\]]")

_STATUS = {True: "True", False: "False", None: "Unknown"}


def halted(old: Sequence[str], standing: Sequence[str], problem: Problem) -> list[Observed]:
    """Return the conditions of a resource that cannot go on: none of those it has claims more than is known now.

    `standing` are the types that its kind always has, beside `Ready`; `old` are those that it had.
    """
    types = dict.fromkeys([*standing, *old])
    types.pop(CONDITION_READY, None)
    return [Observed.not_ready(problem), *(_halted(kind, problem) for kind in types)]


def _halted(kind: str, problem: Problem) -> Observed:
    wrong = problem.reason not in UNDEGRADED_REASONS
    status = {CONDITION_DEGRADED: wrong, CONDITION_PROGRESSING: False, CONDITION_AGENTS_AVAILABLE: False}.get(kind)
    return Observed.told(kind, status, problem)


def find(conditions: Sequence[dict[str, Any]] | None, kind: str) -> dict[str, Any]:
    """Return the condition of a type, of any object that has conditions; empty when there is none."""
    return next((condition for condition in conditions or () if condition.get("type") == kind), {})


def holds(conditions: Sequence[dict[str, Any]] | None, kind: str) -> bool:
    """Return whether a condition of this type is there and true."""
    return bool(find(conditions, kind).get("status") == "True")


def merge(
    old: Sequence[dict[str, Any]], observed: Sequence[Observed], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return the conditions to write: the observed ones, each keeping its transition time while its status stays."""
    previous = {condition.get("type"): condition for condition in old}
    merged = []
    for item in observed:
        before = previous.get(item.type)
        status = _STATUS[item.status]
        kept = before is not None and before.get("status") == status and "lastTransitionTime" in before
        merged.append(
            {
                "type": item.type,
                "status": status,
                "reason": item.reason,
                "message": _as_before(item, before),
                "lastTransitionTime": before["lastTransitionTime"] if kept and before else timestamp(now),
                "observedGeneration": generation,
            }
        )
    return merged


def _as_before(item: Observed, before: dict[str, Any] | None) -> str:
    """Return the message, or the one written before where that lists the same in another order.

    The API server, the kubelet and policies list what they refuse, or miss, in an order that changes each time: it is
    no news.
    """
    former = (before or {}).get("message")
    if not isinstance(former, str) or (before or {}).get("reason") != item.reason:
        return item.message
    return former if len(former) == len(item.message) and _listed(former) == _listed(item.message) else item.message


def _listed(message: str) -> list[str]:
    """Return the parts of a message that commas, semicolons and brackets divide, and the words of a list in brackets
    that has only spaces."""
    inside = _BRACKETS.sub(lambda found: f"[{' '.join(sorted(found[1].split()))}]", message)
    return sorted(part.strip() for part in _DIVIDERS.split(inside))


def transitions(old: Sequence[dict[str, Any]], observed: Sequence[Observed]) -> list[Transition]:
    """Return the Events that a change of conditions deserves."""
    told = [event] if (event := transition(old, observed)) else []
    for item in observed:
        before = find(old, item.type)
        if not item.status or (before.get("status"), before.get("reason")) == ("True", item.reason):
            continue
        if item.type == CONDITION_DEGRADED and not any(event.reason == item.reason for event in told):
            ready = next((other for other in observed if other.type == CONDITION_READY), None)
            # What keeps it from being ready is reported once, as the reason of `Ready`.
            if ready is None or ready.status:
                told.append(Transition("Warning", item.reason, item.message))
        elif item.type == CONDITION_PROGRESSING and item.reason in TOLD_PROGRESS:
            told.append(Transition("Normal", item.reason, item.message))
    return told


def transition(old: Sequence[dict[str, Any]], observed: Sequence[Observed]) -> Transition | None:
    """Return the Event that a change of `Ready` deserves, or None.

    Told: a problem that appears or changes its reason, and readiness that comes after anything else was seen.
    No Event: a resource that is ready at its first pass (10,000 rooms would mean 10,000 Events), and progress.
    """
    before = next((condition for condition in old if condition["type"] == CONDITION_READY), None)
    after = next((item for item in observed if item.type == CONDITION_READY), None)
    if after is None:
        return None
    if after.status:
        if before is None or before.get("status") == "True":
            return None
        return Transition("Normal", after.reason, after.message)
    was_ready = before is not None and before.get("status") == "True"
    if after.reason in PROGRESS_REASONS and not was_ready:
        return None
    if after.reason in (reasons.DELETING, reasons.NAMESPACE_TERMINATING) or (
        before is not None and before.get("reason") == after.reason
    ):
        return None
    if after.reason in WANTED_REASONS:
        return Transition("Normal", after.reason, after.message) if was_ready else None
    return Transition("Warning", after.reason, after.message)
