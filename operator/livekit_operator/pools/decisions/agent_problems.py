"""Why a room gets no agent, and what to do about it: a pure diagnosis.

Several causes may hold at once. The table below has the most specific one first: a crash explains why nobody is
registered, and that explains why no place is free. Each check answers with a message, or None when it does not hold.
"""

from collections.abc import Callable
from dataclasses import dataclass

from livekit_operator import reasons
from livekit_operator.errors import Problem
from livekit_operator.reasons import Reason

# HTTP answers of a provider that refuses the key: waiting does not help.
REFUSED_CODES = (401, 403)
# None of the pool's agents can be called, however many are ready.
UNSERVED_REASONS = frozenset(
    {
        reasons.AGENT_NAME_MISMATCH,
        reasons.DEPLOYMENT_MISMATCH,
        reasons.TARGET_LOAD_TOO_LOW,
        reasons.NO_WORKER_REGISTERED,
    }
)
# What concerns only those who wait: a pool that is full or has yet to start is no fault, and others do not notice.
PERSONAL_REASONS = frozenset(
    {
        reasons.NO_WORKER_REGISTERED,
        reasons.ALL_WORKERS_FULL,
        reasons.DISPATCH_PENDING,
        reasons.AGENT_NOT_CONNECTED,
        reasons.AGENT_FAILING,
    }
)
# What to check where signalling works and media does not.
CONNECT_HINT = (
    "check that its pods reach the address that the server advertises (`status.servers` and spec.media.nodeIp of the "
    "LiveKitServer) on the ports of `status.ports`: a firewall, a NetworkPolicy, or an address for others may be "
    "in the way. Without spec.media.iceLite the server tries its own way to them as well, and "
    "spec.media.advertiseInternalIp tells them its own address beside one that it found"
)

ASKED_AGAIN = (
    "It is asked for again by itself. If that repeats, see `kubectl logs` of the pool's pods for what they do with the "
    "call."
)


@dataclass(frozen=True)
class AgentFacts:
    """What is known of a pool's pods and workers, and of the rooms that wait for one."""

    pods: int
    ready_pods: int
    registered: int
    """Workers that say that they are registered with the server."""
    free_sessions: int
    wanted_name: str
    """The name that dispatches ask for."""
    names: tuple[str, ...] = ()
    """The names that workers registered with."""
    wanted_deployments: tuple[str, ...] = ("",)
    """The deployments that dispatches ask for; empty for none."""
    deployments: tuple[str, ...] = ()
    """The deployments that workers registered with."""
    crash: str | None = None
    """How a worker ended that does not start again: its pod and its last output."""
    provider_problem: str | None = None
    """Which provider refuses the agents (`REFUSED_CODES`), and the field to check."""
    target_load: float = 1.0
    """The load at which the server offers a worker no more jobs; none gets any at 1 or more."""
    loads: tuple[float, ...] = ()
    """Loads of the workers without the runner that hold no call."""
    at_limit: bool = False
    """Whether maxReplicas keeps more pods from coming."""
    fixed: int | None = None
    """The number of pods where nothing scales them."""
    held_back: str | None = None
    """Why pods that are wanted are not made: what refuses them, and what to do."""
    heard: bool = True
    """Whether any ready pod answers the operator, or there is none."""
    stuck: str | None = None
    """Why a pod does not start, in the scheduler's or the kubelet's words."""
    waiting: int = 0
    """Rooms that wait for an agent."""
    dispatch_age: float | None = None
    """Seconds since an agent was asked for that has not joined; None when none is awaited."""
    unconnected: int = 0
    """Rooms whose agent joined and was not connected."""


def diagnose(facts: AgentFacts) -> Problem | None:
    """Return the reason and the message of the most specific cause, or None when agents are there to be had."""
    for reason, check in _CHECKS:
        message = check(facts)
        if message is not None:
            return Problem(reason, message)
    return None


def _provider_rejected(facts: AgentFacts) -> str | None:
    if facts.provider_problem is None:
        return None
    return f"{facts.provider_problem.rstrip('.')}. Once that is put right the agents go on by themselves."


def _worker_crashed(facts: AgentFacts) -> str | None:
    if facts.crash is None or (facts.registered and facts.free_sessions):
        return None
    return f"{facts.crash.rstrip('.')}. Read on with `kubectl logs --previous` of that pod, and check spec.agent."


def _name_mismatch(facts: AgentFacts) -> str | None:
    if not facts.names or facts.wanted_name in facts.names:
        return None
    if not any(facts.names):
        return (
            f"Dispatches ask for the agent {facts.wanted_name!r}, and the workers registered without a name: have your "
            "code register by it (`agent_name=`), or the runner where it is made with livekit-agents for Python: set "
            "spec.agent.runner to Injected."
        )
    return (
        f"Dispatches ask for the agent {facts.wanted_name!r}, and the workers registered as {_listed(facts.names)}: "
        "leave the name out of the code (`agent_name=`), or say the same in spec.agentName."
    )


def _deployment_mismatch(facts: AgentFacts) -> str | None:
    missing = [deployment for deployment in facts.wanted_deployments if deployment not in facts.deployments]
    if not facts.deployments or not missing:
        return None
    return (
        f"Dispatches ask for the deployment {_listed(missing)}, and the workers registered with "
        f"{_listed(facts.deployments)}: take LIVEKIT_AGENT_DEPLOYMENT out of the image and of spec.agent.env."
    )


def _target_load_too_low(facts: AgentFacts) -> str | None:
    target = min(facts.target_load, 1.0)
    if not facts.loads or min(facts.loads) < target:
        return None
    return (
        f"The server offers calls only to workers below a load of {target:g}, and those without a call say "
        f"{min(facts.loads):g} and more: have the load function of your worker (`load_fnc`) say less when it is free, "
        "or set spec.agent.runner to Injected."
    )


def _no_worker_registered(facts: AgentFacts) -> str | None:
    if facts.registered:
        return None
    if not facts.pods and facts.held_back:
        return f"No pod is there, and none comes: {facts.held_back}"
    if facts.pods:
        if not facts.ready_pods:
            waits = facts.stuck or "See `kubectl describe pod` if that lasts."
            return f"None of {facts.pods} pods is ready yet. {waits}"
        if not facts.heard:
            return (
                f"{facts.ready_pods} pods are ready and none answers the operator: check that a NetworkPolicy lets it "
                "reach them on ports 8081 and 8082."
            )
        return (
            f"{facts.ready_pods} pods are ready and none is registered with the server: check that a NetworkPolicy "
            "lets them reach the URL in status.internalUrl of the LiveKitServer."
        )
    if facts.waiting:
        return f"{_rooms(facts)} for the first pod: keep one by spec.autoscaling.minReplicas, or set spec.replicas."
    if facts.fixed == 0:
        return "spec.replicas is 0, so that no agent comes: raise it, or set spec.autoscaling."
    return None  # scaled to zero, and nobody misses anything


def _agent_not_connected(facts: AgentFacts) -> str | None:
    if not facts.unconnected:
        return None
    rooms = f"{facts.unconnected} {'room' if facts.unconnected == 1 else 'rooms'}"
    return f"Agents join {rooms} and get no connection for media: {CONNECT_HINT}."


def _all_workers_full(facts: AgentFacts) -> str | None:
    if facts.free_sessions or not facts.registered:
        return None
    if facts.held_back:
        return f"Every agent is taken until a call ends, and no other pod comes: {facts.held_back}"
    if not facts.waiting and facts.fixed is None and not facts.at_limit:
        return None  # another pod comes when somebody needs it
    if facts.at_limit:
        return "Every agent is taken, and no more pods may come: raise spec.autoscaling.maxReplicas."
    if facts.fixed is not None:
        return "Every agent is taken until a call ends: raise spec.replicas, or set spec.autoscaling."
    return "Every agent is taken until a pod comes or a call ends: raise spec.autoscaling.bufferSessions to spare some."


def _dispatch_pending(facts: AgentFacts) -> str | None:
    if facts.dispatch_age is None:
        return None
    return f"An agent was asked for more than once and has not come. {ASKED_AGAIN}"


_CHECKS: tuple[tuple[Reason, Callable[[AgentFacts], str | None]], ...] = (
    (reasons.PROVIDER_REJECTED, _provider_rejected),
    (reasons.WORKER_CRASHED, _worker_crashed),
    (reasons.AGENT_NAME_MISMATCH, _name_mismatch),
    (reasons.DEPLOYMENT_MISMATCH, _deployment_mismatch),
    (reasons.TARGET_LOAD_TOO_LOW, _target_load_too_low),
    (reasons.NO_WORKER_REGISTERED, _no_worker_registered),
    (reasons.AGENT_NOT_CONNECTED, _agent_not_connected),
    (reasons.ALL_WORKERS_FULL, _all_workers_full),
    (reasons.DISPATCH_PENDING, _dispatch_pending),
)


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(repr(name) if name else "none" for name in sorted(set(names)))


def _rooms(facts: AgentFacts) -> str:
    return f"{facts.waiting} {'room waits' if facts.waiting == 1 else 'rooms wait'}"
