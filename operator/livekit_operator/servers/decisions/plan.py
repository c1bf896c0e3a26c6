"""All that one pass does about a server's pods: a pure decision of the rollout, the check of its configuration and the
brake, each of which may hold the others back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from livekit_operator.reconciling.decisions.brakes import Held, PodHistory
from livekit_operator.servers.decisions.configuration_check import Check, CheckPlan, plan_check
from livekit_operator.servers.decisions.rollout import Leave, ServerPod, next_steps


@dataclass(frozen=True)
class Goal:
    """What the spec wants of the pods; `kept_slots` have a Service whether a server is in them or not."""

    replicas: int
    shared: bool
    drain_timeout: timedelta
    kept_slots: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Circumstances:
    """What bears upon the pods from outside."""

    inputs_known: bool = True
    """Whether it is known what servers are to be started with."""
    startable: bool = True
    """Whether that is allowed, and ports and Redis are free to use."""
    hung: Sequence[str] = ()
    """Names of servers that run without anybody on them and will not become ready."""
    unaddressed: Mapping[int, datetime] = field(default_factory=dict)
    """Slot -> since when its Service waits for the address of a load balancer."""
    check: Check = field(default_factory=Check)
    brake: PodHistory = field(default_factory=PodHistory)


@dataclass(frozen=True)
class Plan:
    """What one pass does. `waits_for` names servers whose rooms must become empty before anything else happens."""

    slots: frozenset[int] = frozenset()
    """Those that need a Service: of the servers there are, and of those that are yet to start."""
    settled: bool = False
    """Whether no server is left that needs what an earlier spec wanted."""
    check: CheckPlan = field(default_factory=CheckPlan)
    serve: tuple[str, ...] = ()
    withdraw: tuple[str, ...] = ()
    leave: tuple[Leave, ...] = ()
    yields: tuple[Leave, ...] = ()
    """Those that terminate so that the ones in `start` get their place."""
    start: tuple[int, ...] = ()
    waits_for: tuple[str, ...] = ()
    deadline: datetime | None = None
    """When the waiting is over, rooms or not."""
    held: Held | None = None
    """What keeps more servers from being started now."""


def plan(pods: Sequence[ServerPod], goal: Goal, circumstances: Circumstances, now: datetime) -> Plan:
    """Return what to do now."""
    wanted = next_steps(
        pods,
        replicas=goal.replicas,
        shared=goal.shared,
        drain_timeout=goal.drain_timeout,
        now=now,
        hung=circumstances.hung,
        unaddressed=circumstances.unaddressed,
    )
    startable = circumstances.inputs_known and circumstances.startable
    check = plan_check(
        circumstances.check,
        needed=bool(wanted.start) and startable and _is_new(pods),
        outdated=any(not pod.current and not pod.leaving for pod in pods),
        now=now,
    )
    startable = startable and check.settled
    asked = len(wanted.start) if startable else 0
    allowed, held = circumstances.brake.allow(asked, wanted=goal.replicas, now=now)
    # Pods that ended stay, for people to read, until one may take their place.
    kept = {pod.name for pod in pods if pod.finished and not pod.leaving} if asked and not allowed else set()
    return Plan(
        slots=frozenset({pod.slot for pod in pods} | set(wanted.start)) | goal.kept_slots,
        settled=circumstances.inputs_known and all(pod.current for pod in pods),
        check=check,
        serve=wanted.serve,
        withdraw=wanted.withdraw,
        leave=tuple(item for item in wanted.leave if item.name not in kept),
        yields=wanted.yields if startable and allowed == asked else (),
        start=wanted.start[:allowed] if startable else (),
        waits_for=wanted.waits_for,
        deadline=wanted.deadline,
        held=held,
    )


def _is_new(pods: Sequence[ServerPod]) -> bool:
    """Return whether a configuration is new beside servers that work, which must not give way to one that cannot."""
    staying = [pod for pod in pods if not pod.leaving and not pod.finished]
    return any(pod.ready and not pod.current for pod in staying) and not any(pod.current for pod in staying)
