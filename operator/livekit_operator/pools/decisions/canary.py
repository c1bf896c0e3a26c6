"""A canary: which calls go to it, and what becomes of it."""

from hashlib import sha256
from typing import Literal

from livekit_operator.api.voiceagentpool import CanaryAnalysis

Verdict = Literal["Promote", "Fail", "Wait"]


def judge_canary(analysis: CanaryAnalysis | None, *, sessions: int, failed: int) -> Verdict:
    """Return what becomes of a canary that began so many sessions, of which so many failed.

    It fails as soon as it can no longer become good enough; without an analysis people decide.
    """
    if analysis is None:
        return "Wait"
    if failed * 100 > analysis.max_failed_percent * max(sessions, analysis.min_sessions):
        return "Fail"
    return "Promote" if sessions >= analysis.min_sessions else "Wait"


def goes_to_canary(weight: int, seed: str) -> bool:
    """Return whether a call goes to the canary, which gets `weight` percent: the same answer for the same seed."""
    return int.from_bytes(sha256(seed.encode()).digest()[:8]) % 100 < weight
