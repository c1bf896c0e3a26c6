"""LiveKitServer: one pass, from keys, configuration and Services to its servers."""

from dataclasses import replace
from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import SERVER_FINALIZER
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked, NamespaceTerminating, Problem
from livekit_operator.manifests.metadata import COMPONENT_SERVER
from livekit_operator.moments import parse_timestamp
from livekit_operator.reconciling.braking import allow_pods
from livekit_operator.reconciling.finalizers import add_finalizer
from livekit_operator.reconciling.frame import reconcile
from livekit_operator.reconciling.status import Outcome, terminating
from livekit_operator.servers import check, observe
from livekit_operator.servers.apply import carry_out
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.rollout import Plan, ServerPod, give_way, plan
from livekit_operator.servers.finalize import finalize
from livekit_operator.servers.host_ports import port_conflict
from livekit_operator.servers.keys import ensure_keys
from livekit_operator.servers.list_rooms import list_rooms
from livekit_operator.servers.load_balancers import PATIENCE
from livekit_operator.servers.manifests import media
from livekit_operator.servers.manifests.names import is_shared
from livekit_operator.servers.manifests.pod import ServerInputs
from livekit_operator.servers.manifests.service import has_address
from livekit_operator.servers.pods import Look
from livekit_operator.servers.reach import find_reach
from livekit_operator.servers.redis import (
    ensure_redis,
    find_hung,
    find_managed_trouble,
    find_refusal,
    find_sharing,
    has_waited,
    is_settling,
)
from livekit_operator.servers.remains import count_remains
from livekit_operator.servers.status import Observation, decide
from livekit_operator.servers.surroundings import Surroundings, ensure_surroundings, read_inputs

# What a server that runs can go on with, but no other one may be started beside.
_STARTS_NOTHING = (reasons.PORT_CONFLICT, reasons.REDIS_SHARED)
# How soon servers that share rooms are looked at again: clients are led to a lost one until it is missed.
_SHARED_POLL_SECONDS = 3.0


async def reconcile_server(context: Context, key: Key) -> float | None:
    """Reconcile one LiveKitServer."""
    return await reconcile(context, LiveKitServer, key, _pass)


async def _pass(context: Context, server: LiveKitServer) -> Outcome | None:
    if server.metadata.deletion_timestamp:
        return await finalize(context, server)
    try:
        return await _keep(context, server)
    except NamespaceTerminating:
        return terminating(server, await count_remains(context, server))


async def _keep(context: Context, server: LiveKitServer) -> Outcome | None:
    await add_finalizer(context, server, SERVER_FINALIZER)
    keys = await ensure_keys(context, server)
    problems = [keys.problem] if keys.problem else []
    inputs = None
    try:
        await ensure_redis(context, server)
        inputs = await read_inputs(context, server, keys.state)
    except Blocked as blocked:
        problems.append(blocked.problem)
    if access := context.servers.get(server.key):
        access.rooms.start_listing()  # the look may bring it
    look = await observe.look(context, server, inputs, keys.state.in_use)
    # One that runs goes on, whatever an older one comes to want.
    conflict = None if any(view.up for view in look.views) else port_conflict(context, server)
    if conflict:
        problems.append(conflict)
    # Servers without Redis say only that they cannot reach it.
    refused = await find_refusal(context, server, look)
    redis = (find_sharing(context, server), find_managed_trouble(context, server), refused)
    problems = [*(found for found in redis if found), *problems]
    decided = _plan(context, server, look)
    if hung := await find_hung(context, server, look):
        decided = replace(decided, leave=(*decided.leave, *hung))
    settled = inputs is not None and all(view.current for view in look.views)
    slots = {view.slot for view in look.views} | set(decided.start) | _kept_slots(server)
    surroundings = await ensure_surroundings(context, server, slots, settled=settled)
    problems += surroundings.problems
    decided = _give_way(context, server, look, decided, surroundings)
    again = await _carry_out(context, server, look, decided, inputs, surroundings, problems)
    reach = await find_reach(context, server, look, surroundings.signal_service)
    observed = Observation(
        keys,
        surroundings,
        look,
        decided,
        reach,
        problems,
        refused=refused,
        settling=is_settling(context, server, look),
        still_long=has_waited(context, look),
    )
    observed = await list_rooms(context, server, observed, keys.state)
    observed = replace(observed, hangs=(breaker := context.breakers.get(server.key)) is not None and breaker.open)
    poll = context.settings.server_poll_seconds
    if access := context.servers.get(server.key):
        poll = access.rooms.listing_seconds(poll)
    outcome = decide(server, observed, poll)
    waits = [*problems, *reach.unreached, *([reach.awaited] if reach.awaited else [])]
    looks = [again, *(problem.retry_after for problem in waits)]
    if sum(view.up for view in look.views) > 1 and is_shared(server):
        looks.append(_SHARED_POLL_SECONDS)
    silent = any(item.view.ready and item.load is None for item in look.servers)
    unverified = server.key in context.lost_replica and bool(observed.serving)
    if silent or unverified or (observed.unlisted and is_shared(server)):
        looks.append(observe.SILENT_RETRY_SECONDS)
    return replace(outcome, again=min([outcome.again or 0.0, *(seconds for seconds in looks if seconds)]))


def _plan(context: Context, server: LiveKitServer, look: Look) -> Plan:
    return plan(
        look.views,
        replicas=server.spec.replicas,
        shared=is_shared(server),
        drain_timeout=timedelta(seconds=server.spec.drain_timeout_seconds),
        now=context.now(),
    )


def _give_way(context: Context, server: LiveKitServer, look: Look, decided: Plan, surroundings: Surroundings) -> Plan:
    """Return the plan with an older server leaving for the address that the new one waits for."""
    waiting = [slot for slot in decided.start if slot in surroundings.slot_problems]
    service = context.children["Service"].get(
        (server.metadata.namespace, media.slot_name(server, min(waiting, default=0)))
    )
    if server.spec.media.exposure != "LoadBalancer" or not waiting or service is None or has_address(service):
        return decided
    since = parse_timestamp(service["metadata"]["creationTimestamp"])
    if context.now() - since < PATIENCE:
        return decided
    drain_timeout = timedelta(seconds=server.spec.drain_timeout_seconds)
    return give_way(decided, look.views, since=since, drain_timeout=drain_timeout, now=context.now())


async def _carry_out(
    context: Context,
    server: LiveKitServer,
    look: Look,
    decided: Plan,
    inputs: ServerInputs | None,
    surroundings: Surroundings,
    problems: list[Problem],
) -> float | None:
    """Do what was decided as far as nothing stands against it; return when to look again."""
    again = None
    blocked = (
        inputs is None or not surroundings.startable or any(problem.reason in _STARTS_NOTHING for problem in problems)
    )
    if decided.start and not blocked and inputs is not None and _needs_check(look.views):
        try:
            again = await check.check(context, server, inputs)
        except Blocked as refused:
            problems.append(refused.problem)
            again = refused.problem.retry_after
            blocked = True
        blocked = blocked or again is not None
    elif not any(not view.current and not view.leaving for view in look.views):
        await check.end_check(context, server)
    if blocked:
        decided = replace(decided, start=(), yields=())
    decided = _braked(context, server, look, decided)
    decided = replace(decided, leave=(*decided.leave, *decided.yields))
    try:
        soon = await carry_out(context, server, look, decided, inputs, surroundings.slots)
    except Blocked as refused:
        problems.append(refused.problem)
        return refused.problem.retry_after
    return min((seconds for seconds in (again, soon) if seconds), default=None)


def _braked(context: Context, server: LiveKitServer, look: Look, decided: Plan) -> Plan:
    """Return what may be done now; pods that ended stay to be looked at until one may take their place."""
    pods = [item.pod for item in look.servers]
    number, wanted = len(decided.start), server.spec.replicas
    allowed = allow_pods(context, server, COMPONENT_SERVER, pods, number, wanted=wanted)
    if allowed == number:
        return decided
    kept = {view.name for view in look.views if view.finished and not view.leaving} if not allowed else set()
    leave = tuple(item for item in decided.leave if item.name not in kept)
    return replace(decided, start=decided.start[:allowed], leave=leave, yields=())


def _needs_check(views: list[ServerPod]) -> bool:
    """Return whether a configuration is new beside servers that work, which must not give way to one that cannot."""
    staying = [view for view in views if not view.leaving and not view.finished]
    return any(view.ready and not view.current for view in staying) and not any(view.current for view in staying)


def _kept_slots(server: LiveKitServer) -> set[int]:
    """Return the slots whose node ports stay reserved, so that a firewall's list holds through rollouts."""
    if server.spec.media.exposure != "NodePort" or not server.spec.replicas:
        return set()
    return set(range(server.spec.replicas + 1))
