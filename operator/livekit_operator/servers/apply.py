"""Carries out what was decided about a server: what stands around its pods, the pods, and what others get of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.constants import LABEL_SERVING
from livekit_operator.engine.cache import Manifest, key_of
from livekit_operator.errors import Blocked, Conflict, NotFound, Problem, ServerRefused, ServerUnreachable
from livekit_operator.manifests.metadata import COMPONENT_SERVER, COMPONENT_SERVER_CHECK
from livekit_operator.moments import timestamp
from livekit_operator.reconciling import children, status
from livekit_operator.reconciling.braking import remember_pods, report_held
from livekit_operator.reconciling.ownership import adopt, is_owned, relabel
from livekit_operator.servers.check import apply_check
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.key_rotation import ApiKey
from livekit_operator.servers.decisions.plan import Plan
from livekit_operator.servers.list_rooms import Listed, list_rooms
from livekit_operator.servers.manifests.names import is_shared
from livekit_operator.servers.manifests.pod import ServerInputs, build_pod, grace_seconds
from livekit_operator.servers.observe import Observation
from livekit_operator.servers.pods import MOST_NAMES, Replica, Replicas, connect_to
from livekit_operator.servers.reach import Reach, find_reach
from livekit_operator.servers.surroundings import Surroundings, ensure_surroundings

# How long one pass may spend on closing rooms; the next one continues.
_ENDING_SECONDS = 10.0
# How long every node needs at most to stop sending new connections to a server that was taken out of its Service.
WITHDRAWAL_SECONDS = 2.0


@dataclass(frozen=True)
class Done:
    """What a pass has made, what was refused, and how clients, pools and rooms find the server now."""

    surroundings: Surroundings
    problems: Sequence[Problem]
    """What keeps things from being made, and what the check of the configuration says."""
    reach: Reach
    listed: Listed
    again: float | None = None
    """When the next pass is due for what is on its way (seconds)."""
    hangs: bool = False
    """Whether requests for its rooms run out of time, though it lists them."""


async def apply(context: Context, server: LiveKitServer, observed: Observation, plan: Plan) -> Done:
    """Carry out a plan; raises Blocked when not even the Service of the signalling can be made."""
    remember_pods(context, server, COMPONENT_SERVER, observed.brake)
    remember_pods(context, server, COMPONENT_SERVER_CHECK, observed.check.brake)
    surroundings = await ensure_surroundings(context, server, plan.slots, settled=plan.settled)
    problems, again = [*surroundings.problems], plan.check.again
    if plan.check.problem:
        problems.append(plan.check.problem)
    report_held(context, server, COMPONENT_SERVER, plan.held)
    try:
        await apply_check(context, server, observed.inputs, plan.check)
    except Blocked as refused:
        problems.append(refused.problem)
        again = refused.problem.retry_after
    try:
        soon = await carry_out(context, server, observed.replicas, plan, observed.inputs, surroundings)
        again = min((seconds for seconds in (again, soon) if seconds), default=None)
    except Blocked as refused:
        problems.append(refused.problem)
        again = refused.problem.retry_after
    reach = await find_reach(context, server, observed.replicas, surroundings.signal_service)
    # Last: a server that hangs must not hold up what replaces it.
    listed = await list_rooms(context, server, observed.replicas, reach.url, observed.keys.state)
    breaker = context.breakers.get(server.key)
    return Done(surroundings, problems, reach, listed, again, hangs=breaker is not None and breaker.open)


async def carry_out(
    context: Context,
    server: LiveKitServer,
    replicas: Replicas,
    plan: Plan,
    inputs: ServerInputs | None,
    surroundings: Surroundings | None = None,
) -> float | None:
    """Create, label and terminate servers as planned; return in how many seconds the next pass is due, if soon."""
    by_name = {item.view.name: item for item in replicas.every}
    again = None
    # The successor first: between the two writes both get new connections, which is better than none.
    for name in plan.serve:
        await _label(context, server, by_name[name].pod, serving=True)
    for name in plan.withdraw:
        await _label(context, server, by_name[name].pod, serving=False)
    leaves = (*plan.leave, *plan.yields)
    going = {leave.name for leave in leaves}
    others = [item for item in replicas.staying if item.view.up and item.view.name not in going]
    replaced = any(item.view.serving or item.view.name in plan.serve for item in others)
    for leave in leaves:
        item = by_name[leave.name]
        grace = leave.grace_seconds if leave.grace_seconds is not None else grace_seconds(server)
        if replaced and (wait := await _withdraw(context, server, item)):
            again = max(again or 0.0, wait)
            continue
        if not item.view.leaving:
            await _announce(context, server, item, grace)
        elif not item.view.shared:
            # Its last caller has left, and agents that wait in its rooms would keep it running.
            await _end_rooms(item.memory.client)
        await children.remove(context, "Pod", item.pod, grace_seconds=grace)
    for slot in plan.start:
        if surroundings is None or inputs is None or slot not in surroundings.slots:
            continue  # it has no ports or address yet
        serving = not any(item.view.serving for item in replicas.every if item.view.up) or (
            is_shared(server) and all(item.view.shared for item in replicas.every)
        )
        await _start(context, server, build_pod(server, inputs, surroundings.slots[slot], serving=serving))
    return again


async def _start(context: Context, server: LiveKitServer, pod: Manifest) -> None:
    """Create a server's pod, or take over the one of its name."""
    try:
        await children.make_pod(context, server, COMPONENT_SERVER, pod)
    except Conflict:
        # Not ours, or ours and not in the cache yet, or ours without the labels by which it is found.
        found = await children.find(context, "Pod", *key_of(pod))
        if found is not None and not is_owned(server, found):
            await adopt(context, server, pod, found)
        elif found is not None:
            await relabel(context, server, COMPONENT_SERVER, found)


async def _withdraw(context: Context, server: LiveKitServer, item: Replica) -> float | None:
    """Take a server that others replace out of its Service; return how long nodes still need to learn of it.

    One without participants ends at once, and until nodes know, every other new connection would still go to it.
    """
    if not item.view.up or item.view.leaving:
        return None
    memory = item.memory
    if item.view.serving:
        memory.withdrawn = context.now()
        await _label(context, server, item.pod, serving=False)
    if memory.withdrawn is None:
        return None
    left = WITHDRAWAL_SECONDS - (context.now() - memory.withdrawn).total_seconds()
    return left if left > 0 else None


async def end_rooms(context: Context, server: LiveKitServer, replicas: Replicas, key: ApiKey | None) -> None:
    """Delete every room of draining servers, which disconnects everybody: an empty draining server ends.

    A shorter grace period does not help: the kubelet keeps the one with which it began to wait
    (pkg/kubelet/kubelet.go SyncTerminatingPod).
    """
    for item in replicas.every:
        if key is None or not item.address or not item.view.leaving:
            continue
        client = connect_to(context, server, item.address, key)
        await _end_rooms(client)
        await client.close()


async def _end_rooms(client: LiveKit | None) -> None:
    if client is None:
        return
    try:
        async with asyncio.timeout(_ENDING_SECONDS):
            for room in await client.list_rooms():
                await client.delete_room(room.name)
    except (ServerUnreachable, ServerRefused, TimeoutError):
        return  # it ends when its time is over


async def _label(context: Context, server: LiveKitServer, pod: Manifest, *, serving: bool) -> None:
    # "false" rather than no label: the disruption budget still counts a server that has had clients.
    patch = {"metadata": {"uid": pod["metadata"]["uid"], "labels": {LABEL_SERVING: "true" if serving else "false"}}}
    try:
        await children.patch(context, server, "Pod", pod["metadata"]["name"], patch)
    except NotFound:
        return


async def _announce(context: Context, server: LiveKitServer, item: Replica, grace: int) -> None:
    """Emit an Event that says which server drains, and which rooms it waits for."""
    load = item.load
    if load is None:
        if not item.view.ready:
            return
        which = "it does not tell which now"  # it may well have calls
    elif load.participants:
        which = ", ".join(load.names[:MOST_NAMES]) or f"{load.rooms} rooms"
    else:
        return
    latest = timestamp(context.now() + timedelta(seconds=grace))
    message = f"{item.view.name} takes no new rooms and leaves when its rooms are empty, or at {latest}: {which}."
    await status.emit(context, server, "Normal", reasons.DRAINING, message)
