"""When a worker may be called ready.

The library's own port answers 200 before any process is warm and before the server knows the worker.
The rule here: ready means the idle processes were all warm once since the start, the server holds a
registration right now, and no drain has begun. Being busy later does not undo it: the idle target
shrinks with load on purpose, and a full worker refuses jobs by itself.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerState:
    """What is known of the worker at one moment."""

    warmed_up: bool
    registered: bool
    draining: bool
    failure: str | None = None
    warm_up_problem: str | None = None


def reasons_not_ready(state: WorkerState) -> list[str]:
    """Why the worker is not ready; empty when it is."""
    reasons = []
    if state.failure:
        reasons.append(f"failed: {state.failure}")
    if state.draining:
        reasons.append("draining")
    if not state.warmed_up:
        why = f": {state.warm_up_problem}" if state.warm_up_problem else ""
        reasons.append(f"idle processes are not warm yet{why}")
    if not state.registered:
        reasons.append("not registered with the LiveKit server")
    return reasons
