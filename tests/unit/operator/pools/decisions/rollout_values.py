"""Pods and targets of which tests of the rollout are made."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from livekit_operator.pools.decisions.rollout import CANARY, STABLE, PodView, Target

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def pod(name: str, revision: str = "new", *, age: int = 0, **facts: Any) -> PodView:
    """Return a pod that is ready and has no calls, apart from the fields that are given."""
    created = START - timedelta(seconds=age)
    idle = PodView(name, revision, ready=True, leaving=False, finished=False, sessions=0, created=created)
    return replace(idle, **facts)


def starting(name: str, revision: str = "new", track: str = STABLE, *, failing: bool = False) -> PodView:
    return pod(name, revision, ready=False, sessions=None, track=track, failing=failing)


def stable(desired: int, revision: str = "new") -> Target:
    return Target(f"{revision}/", desired, STABLE)


def canary(desired: int, revision: str = "next") -> Target:
    return Target(f"{revision}/", desired, CANARY)
