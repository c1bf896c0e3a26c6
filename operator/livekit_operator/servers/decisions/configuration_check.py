"""What to do about the pod in which livekit-server reads a new configuration before any server is replaced.

no pod of the wanted revision      -> one is created, as far as its brake allows
it has not ended                   -> no server is replaced yet, and a problem says what keeps it from starting
livekit-server accepted            -> servers are replaced; the pod goes if another container keeps it running
livekit-server refused             -> no server is replaced; checked once more after half a minute
it ended without a word            -> checked once more: it was evicted before it started, or its node is gone
nothing to check, nothing outdated -> all such pods go
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from livekit_operator.errors import Problem
from livekit_operator.reconciling.decisions.brakes import Held, PodHistory

# How soon a check that failed is repeated: Redis may have been down for a moment.
CHECK_AGAIN_AFTER = timedelta(seconds=30)
_CHECK_RETRY_SECONDS = 1.0

Verdict = Literal["Accepted", "Refused", "Silent"]


@dataclass(frozen=True)
class CheckPod:
    """A pod that checks a configuration; `verdict` is None while livekit-server has not ended in it."""

    name: str
    created: datetime
    wanted: bool
    """Whether it checks the wanted configuration."""
    verdict: Verdict | None = None
    finished: bool = False
    """Whether all of its containers have ended."""
    problem: Problem | None = None
    """Why it does not start, or why livekit-server refused."""


@dataclass(frozen=True)
class Check:
    """What is known of the check of the wanted configuration."""

    pods: Sequence[CheckPod] = ()
    accepted: bool = False
    """Whether it was accepted, though the pod may be gone."""
    brake: PodHistory = field(default_factory=PodHistory)


@dataclass(frozen=True)
class CheckPlan:
    """What to do about the check, and whether servers may be replaced meanwhile."""

    start: bool = False
    remove: tuple[str, ...] = ()
    in_vain: tuple[str, ...] = ()
    """Those of the removed pods that ended without a word, which slow down the next one."""
    ends: bool = False
    """Whether what it said can be forgotten."""
    settled: bool = True
    """Whether nothing of it keeps servers from being replaced."""
    problem: Problem | None = None
    again: float | None = None
    """When the next pass is due (seconds)."""
    braked: bool = False
    """Whether the brake was asked; `held` is its answer."""
    held: Held | None = None


def plan_check(check: Check, *, needed: bool, outdated: bool, now: datetime) -> CheckPlan:
    """Return what to do: a check is `needed` before servers start; `outdated` ones are still to be replaced."""
    if needed:
        return _check_wanted(check, now)
    if outdated:
        return CheckPlan()
    return CheckPlan(remove=tuple(pod.name for pod in check.pods), ends=True)


def _check_wanted(check: Check, now: datetime) -> CheckPlan:
    others = tuple(pod.name for pod in check.pods if not pod.wanted)
    pod = next((pod for pod in check.pods if pod.wanted), None)
    if pod is None and check.accepted:
        return CheckPlan(remove=others)  # its pod was deleted because another container in it was still running
    if pod is None:
        allowed, held = check.brake.allow(1, wanted=1, now=now)
        return CheckPlan(
            start=bool(allowed), remove=others, settled=False, again=_CHECK_RETRY_SECONDS, braked=True, held=held
        )
    if pod.verdict is None:
        again = pod.problem.retry_after if pod.problem else _CHECK_RETRY_SECONDS
        return CheckPlan(remove=others, settled=False, problem=pod.problem, again=again)
    if pod.verdict == "Accepted":
        # An injected container may never end.
        return CheckPlan(remove=others if pod.finished else (*others, pod.name))
    if pod.verdict == "Silent":
        remove = (*others, pod.name)
        return CheckPlan(remove=remove, in_vain=(pod.name,), settled=False, again=_CHECK_RETRY_SECONDS)
    again = CHECK_AGAIN_AFTER.total_seconds()
    problem = replace(pod.problem, retry_after=again) if pod.problem else None
    # The fault may have been fixed outside the spec.
    remove = (*others, pod.name) if now - pod.created >= CHECK_AGAIN_AFTER else others
    return CheckPlan(remove=remove, settled=False, problem=problem, again=again)
