"""What is there of a server before a pass does anything, and what keeps it from being as it should."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.errors import Blocked, Problem
from livekit_operator.manifests.metadata import COMPONENT_SERVER
from livekit_operator.reconciling.braking import observe_pods
from livekit_operator.reconciling.decisions.brakes import PodHistory
from livekit_operator.servers.check import observe_check
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.configuration_check import Check
from livekit_operator.servers.host_ports import port_conflict
from livekit_operator.servers.keys import ServerKeyring
from livekit_operator.servers.load_balancers import slots_without_address
from livekit_operator.servers.manifests.pod import ServerInputs
from livekit_operator.servers.pods import Replicas
from livekit_operator.servers.prepare import Prepared
from livekit_operator.servers.redis import (
    find_hung,
    find_managed_trouble,
    find_refusal,
    find_sharing,
    has_waited,
    is_settling,
)
from livekit_operator.servers.replicas import observe_replicas
from livekit_operator.servers.surroundings import pods_are_allowed, read_inputs


@dataclass(frozen=True)
class Observation:
    """Keys, what servers are started with, the servers, and what bears upon them."""

    now: datetime
    keys: ServerKeyring
    inputs: ServerInputs | None
    """None while something of them is missing or wrong, which is among the problems."""
    replicas: Replicas
    problems: Sequence[Problem]
    check: Check
    brake: PodHistory
    pods_allowed: bool = True
    """Whether servers may be started, by the chart's values and under an account of their own."""
    hung: Sequence[str] = ()
    """Names of servers that run without anybody on them and will not become ready."""
    unaddressed: Mapping[int, datetime] = field(default_factory=dict)
    """Slot -> since when its Service waits for the address of a load balancer."""
    refused: Problem | None = None
    """What Redis refuses servers that run."""
    settling: bool = False
    """Whether all servers became ready only just now, which with Redis says little."""
    still_long: bool = False
    """Whether a server has run for a while and is not ready."""


async def observe(context: Context, server: LiveKitServer, prepared: Prepared) -> Observation:
    """Read what there is; nothing is changed by it.

    Only what it has read is kept: what a check of the configuration printed, and Secrets as parsed.
    """
    keys, inputs, problems = prepared.keys, None, []
    if keys.problem:
        problems.append(keys.problem)
    if prepared.redis_problem:
        problems.append(prepared.redis_problem)
    else:
        try:
            inputs = await read_inputs(context, server, keys.state)
        except Blocked as blocked:
            problems.append(blocked.problem)
    replicas = await observe_replicas(context, server, inputs, keys.state.in_use)
    # One that runs goes on, whatever an older one comes to want.
    conflict = None if any(view.up for view in replicas.views) else port_conflict(context, server)
    # Servers without Redis say only that they cannot reach it.
    refused = await find_refusal(context, server, replicas)
    redis = (find_sharing(context, server), find_managed_trouble(context, server), refused)
    found = (*redis, *problems, conflict, prepared.account_problem)
    hung = await find_hung(context, server, replicas)
    # Last: what is seen of brakes is remembered at once, or it would outlive a clock that is set back meanwhile.
    check = await observe_check(context, server, inputs)
    return Observation(
        now=context.now(),
        keys=keys,
        inputs=inputs,
        replicas=replicas,
        problems=[problem for problem in found if problem],
        check=check,
        brake=observe_pods(context, server, COMPONENT_SERVER, [item.pod for item in replicas.every], lasting=True),
        pods_allowed=prepared.has_account and pods_are_allowed(context, server),
        hung=hung,
        unaddressed=slots_without_address(context, server),
        refused=refused,
        settling=is_settling(context, server, replicas),
        still_long=has_waited(context, replicas),
    )
