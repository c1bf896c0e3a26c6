"""LiveKitServer: keys, configuration, Services, servers; and the one listing of their rooms."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.breaker import FAILURES, Breaker
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.conditions import UNDEGRADED_REASONS, Observed, find, parse_timestamp
from livekit_operator.constants import (
    ANNOTATION_FORCE_DELETE,
    CONDITION_DEGRADED,
    CONDITION_PROGRESSING,
    CONDITION_READY,
    SERVER_FINALIZER,
)
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked, CutOff, NamespaceTerminating, ServerRefused, ServerUnreachable
from livekit_operator.key_rotation import KeyState
from livekit_operator.outside import MOST_COUNT
from livekit_operator.reconcilers import server_check, server_pods
from livekit_operator.reconcilers.braking import allow_pods
from livekit_operator.reconcilers.context import Context, ServerAccess
from livekit_operator.reconcilers.finalizers import add_finalizer, remove_finalizer
from livekit_operator.reconcilers.guarded import Guarded
from livekit_operator.reconcilers.host_ports import port_conflict
from livekit_operator.reconcilers.load_balancers import PATIENCE
from livekit_operator.reconcilers.ownership import is_orphaning
from livekit_operator.reconcilers.reconcile import reconcile
from livekit_operator.reconcilers.server_children import (
    Surroundings,
    ensure_redis,
    ensure_surroundings,
    read_inputs,
)
from livekit_operator.reconcilers.server_keys import ServerKeyring, ensure_keys, key_to_ask_with
from livekit_operator.reconcilers.server_pods import Look, Server
from livekit_operator.reconcilers.server_reach import NO_URL, Reach, find_reach
from livekit_operator.reconcilers.server_redis import (
    find_hung,
    find_managed_trouble,
    find_refusal,
    find_sharing,
    has_waited,
    is_settling,
)
from livekit_operator.reconcilers.server_remains import count_remains
from livekit_operator.reconcilers.status import Outcome, terminating
from livekit_operator.resources import livekitserver as build
from livekit_operator.resources import server_config, server_network
from livekit_operator.resources.foreign_status import CERTIFICATE_MISSING
from livekit_operator.resources.meetingroom import ServerKeys
from livekit_operator.resources.metadata import COMPONENT_SERVER, selector
from livekit_operator.resources.server_pods import ServerInputs
from livekit_operator.server_rollout import FORCED_GRACE_SECONDS, Leave, Plan, ServerPod, give_way, one_to_ask, plan
from livekit_operator.views import RoomView

_WHY_A_SECRET_IS_MISSING = ("CertManagerMissing", CERTIFICATE_MISSING)
# Reasons that say only that something is on its way.
_ON_ITS_WAY = ("Progressing",)
# What a server that runs can go on with, but no other one may be started beside.
_STARTS_NOTHING = ("PortConflict", "RedisShared")
_LOOK_AT_SERVERS = "See its log and its node, and delete its pod if it hangs."
_DELETION_POLL_SECONDS = 2.0
_LOST_MARGIN = timedelta(seconds=60)
# How soon servers that share rooms are looked at again: clients are led to a lost one until it is missed.
_SHARED_POLL_SECONDS = 3.0
# A server lists its rooms within milliseconds; what a node leads to a lost one waits for nothing.
_LISTING_SECONDS = 3.0
# How often a server is asked by way of its Service, though it has told everything itself.
_ASKED_AS_OTHERS_DO = timedelta(seconds=30)
# How long servers go on taking one that is gone for one that has its rooms, and a request for these waits for it.
# Source: livekit-server pkg/routing/selector/utils.go AvailableSeconds
_BELIEVED_IN = timedelta(seconds=5)


@dataclass(frozen=True)
class Observation:
    """What is there: keys, Services, servers, what was decided, the rooms or why they cannot be listed."""

    keys: ServerKeyring
    surroundings: Surroundings
    look: Look
    decided: Plan
    reach: Reach
    problems: list[Blocked]
    rooms: int | None = None
    participants: int | None = None
    unlisted: str | None = None
    hangs: bool = False
    """Whether requests for its rooms run out of time, though it lists them."""
    refused: Blocked | None = None
    """What Redis refuses servers that run."""
    settling: bool = False
    """Whether all servers became ready only just now, which with Redis says little."""
    still_long: bool = False
    """Whether a server has run for a while and is not ready."""

    @property
    def staying(self) -> list[Server]:
        """Return the servers that are not leaving."""
        return [item for item in self.look.servers if not item.view.leaving and not item.view.finished]

    @property
    def serving(self) -> list[Server]:
        """Return the servers that clients can use."""
        return [item for item in self.staying if item.view.up and item.view.serving]


async def reconcile_server(context: Context, key: Key) -> float | None:
    """Reconcile one LiveKitServer."""
    if context.resources["LiveKitServer"].get(key) is None:
        await _forget(context, key)
    return await reconcile(context, LiveKitServer, key, _pass)


async def _pass(context: Context, server: LiveKitServer) -> Outcome | None:
    if server.metadata.deletion_timestamp:
        return await _finalize(context, server)
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
        problems.append(blocked)
    if access := context.servers.get(server.key):
        access.rooms.start_listing()  # the look may bring it
    look = await server_pods.look(context, server, inputs, keys.state.in_use)
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
    observed = await observe(context, server, observed, keys.state)
    observed = replace(observed, hangs=(breaker := context.breakers.get(server.key)) is not None and breaker.open)
    poll = context.settings.server_poll_seconds
    if access := context.servers.get(server.key):
        poll = access.rooms.listing_seconds(poll)
    outcome = decide(server, observed, poll)
    waits = [*problems, *reach.unreached, *([reach.awaited] if reach.awaited else [])]
    looks = [again, *(blocked.retry_after for blocked in waits)]
    if sum(view.up for view in look.views) > 1 and build.is_shared(server):
        looks.append(_SHARED_POLL_SECONDS)
    silent = any(item.view.ready and item.load is None for item in look.servers)
    in_doubt = server.key in context.bereaved and bool(observed.serving)
    if silent or in_doubt or (observed.unlisted and build.is_shared(server)):
        looks.append(server_pods.SILENT_RETRY_SECONDS)
    return replace(outcome, again=min([outcome.again or 0.0, *(seconds for seconds in looks if seconds)]))


async def observe(context: Context, server: LiveKitServer, observed: Observation, keys: KeyState) -> Observation:
    """List the rooms when a server answers, and wake whom it concerns."""
    # Pools can be prepared before the first server answers; they need only its keys and URL.
    access = await _connect(context, server, keys, observed)
    if observed.look.lost and build.is_shared(server):
        access.missed = access.missed or context.now()
        context.bereaved.add(server.key)
    # Not only ready servers: one that drains still has rooms. Those that are gone must not seem to have them.
    if observed.reach.url is None or not any(view.ready or view.leaving for view in observed.look.views):
        access.rooms.forget()
        return observed
    rooms = _told_already(context, access, observed)
    if rooms is None:
        access.rooms.start_listing()
        try:
            async with asyncio.timeout(_LISTING_SECONDS):
                rooms = await access.client.list_rooms()
        except (ServerUnreachable, ServerRefused, TimeoutError) as error:
            access.rooms.forget()
            access.answered = None
            return replace(observed, unlisted=str(error) or "no answer in time")
        access.answered = context.now()
    _wake_rooms(context, server.key, access.rooms.finish_listing(rooms))
    if access.missed is not None and context.now() - access.missed >= _BELIEVED_IN:
        # Only now: before, a room of the lost one would be asked for there.
        access.missed = None
        context.bereaved.discard(server.key)
        access.rooms.doubt()
        context.wake_users(server.key)
    participants = min(sum(room.participants for room in rooms), MOST_COUNT)
    return replace(observed, rooms=len(rooms), participants=participants)


def _told_already(context: Context, access: ServerAccess, observed: Observation) -> Sequence[RoomView] | None:
    """Return the rooms of a server without Redis that stands alone, which told them when it was looked at.

    Now and then it is asked once more by way of its Service, as everybody else asks it.
    """
    servers = observed.look.servers
    if len(servers) != 1 or len(observed.serving) != 1:
        return None
    if access.answered is None or context.now() - access.answered >= _ASKED_AS_OTHERS_DO:
        return None
    load = servers[0].load
    return load.listing if load else None


def decide(server: LiveKitServer, observed: Observation, poll_seconds: float) -> Outcome:
    """Return the status of what was observed."""
    ports = {slot: inputs.ports for slot, inputs in observed.surroundings.slots.items() if inputs.ports}
    fields: dict[str, Any] = {
        "version": server.spec.version,
        "replicas": len(observed.staying),
        "readyReplicas": len(observed.serving),
        "updatedReplicas": sum(item.view.current and item.view.up for item in observed.staying),
        "drainingReplicas": sum(item.view.leaving for item in observed.look.servers),
        "internalUrl": server_network.internal_url(server),
        "externalUrl": observed.reach.url,
        "keysSecretName": build.keys_secret_name(server),
        "keys": observed.keys.status,
        "redis": server_config.redis_description(server),
        "ports": server_network.firewall(server, ports, signal_service=observed.surroundings.signal_service),
        "servers": [server_pods.describe(item, observed.decided) for item in observed.look.servers],
        "rooms": observed.rooms,
        "participants": observed.participants,
        "selector": ",".join(f"{key}={value}" for key, value in sorted(selector(server, COMPONENT_SERVER).items())),
    }
    ready = _ready(server, observed)
    return Outcome([ready, _progressing(server, observed), _degraded(server, observed, ready)], fields, poll_seconds)


def _ready(server: LiveKitServer, observed: Observation) -> Observed:
    if server.spec.replicas == 0 and not observed.staying:
        return Observed.not_ready("ScaledToZero", "spec.replicas is 0: no server runs.")
    if not observed.serving:
        problem = _first_problem(observed)
        if problem is not None:
            return Observed.not_ready(problem.reason, problem.message)
        if silence := _redis_is_silent(server, observed):
            return Observed.not_ready(silence.reason, silence.message)
        silent = any(item.view.unreachable for item in observed.staying)
        if observed.unlisted and silent and _last_reason(server) in ("Ready", "ServerUnreachable"):
            return _unanswering(observed)
        kept = _kept(server) if observed.settling else None
        return kept or Observed.not_ready("Progressing", "Waiting for a server to answer.")
    if observed.refused:
        return Observed.not_ready(observed.refused.reason, observed.refused.message)
    if observed.settling and _last_reason(server) != "Ready":
        return _kept(server) or Observed.not_ready("Progressing", "Waiting whether the servers get on with Redis.")
    if observed.unlisted and _last_reason(server) not in ("Ready", "ServerUnreachable"):
        # A pod is ready a moment before its Service leads to it.
        return Observed.not_ready("Progressing", f"Waiting until the server can be reached: {observed.unlisted}.")
    if observed.unlisted:
        return _unanswering(observed)
    missing = next((found for found in observed.reach.unreached if found.reason in NO_URL), None)
    if observed.reach.url is None and missing:
        return Observed.not_ready(missing.reason, missing.message)
    if observed.reach.url is None:
        return Observed.not_ready("Progressing", "Waiting for an address that clients can use.")
    if waits := observed.reach.awaited:
        return Observed.not_ready(waits.reason, waits.message)
    if cut := next((problem for problem in observed.problems if isinstance(problem, CutOff)), None):
        return Observed.not_ready(cut.reason, cut.message)
    return Observed.ready(f"The server answers at {observed.reach.url}.")


def _unanswering(observed: Observation) -> Observed:
    message = f"The server runs but does not answer: {observed.unlisted}. {_LOOK_AT_SERVERS}"
    return Observed.not_ready("ServerUnreachable", message)


def _progressing(server: LiveKitServer, observed: Observation) -> Observed:
    wanted = server.spec.replicas
    leaving = [item for item in observed.look.servers if item.view.leaving]
    updated = sum(item.view.current for item in observed.serving)

    def progressing(reason: str, message: str) -> Observed:
        return Observed(CONDITION_PROGRESSING, True, reason, message)

    if observed.decided.waits_for:
        names = [_shown_rooms(item) for item in observed.staying if item.view.name in observed.decided.waits_for]
        by = f", at the latest at {observed.decided.deadline:%Y-%m-%dT%H:%M:%SZ}" if observed.decided.deadline else ""
        return progressing("WaitingForRooms", f"Changes when these rooms are empty{by}: {'; '.join(names)}.")
    if any(not item.view.current or item.view.cordoned for item in observed.staying):
        return progressing("RollingOut", f"{updated} of {wanted} servers are as wanted.")
    if updated < wanted:
        return progressing("Starting", f"{updated} of {wanted} servers answer.")
    if len(observed.staying) > wanted:
        return progressing("ScalingDown", f"{len(observed.staying) - wanted} servers are to leave.")
    if leaving:
        rooms = "; ".join(_shown_rooms(item) for item in leaving)
        return progressing("Draining", f"{len(leaving)} servers leave when their rooms are empty: {rooms}.")
    if observed.keys.status["phase"] != "Stable":
        return progressing("RotatingKeys", f"Keys: {observed.keys.status['phase']}, see status.keys.")
    return Observed(CONDITION_PROGRESSING, False, "UpToDate", "Every server is as wanted.")


def _degraded(server: LiveKitServer, observed: Observation, ready: Observed) -> Observed:
    problem = (
        _first_problem(observed) or _redis_is_silent(server, observed) or next(iter(observed.reach.unreached), None)
    )
    if problem is not None:
        return Observed(CONDITION_DEGRADED, True, problem.reason, problem.message)
    if not ready.status and ready.reason not in UNDEGRADED_REASONS:
        return Observed(CONDITION_DEGRADED, True, ready.reason, ready.message)
    if observed.settling and (kept := _kept(server, CONDITION_DEGRADED)):
        return kept
    lost = [item.view.name for item in observed.staying if item.view.unreachable]
    if lost:
        message = f"These servers do not answer and get no new clients: {', '.join(lost)}. {_LOOK_AT_SERVERS}"
        return Observed(CONDITION_DEGRADED, True, "ServerUnreachable", message)
    if observed.hangs:
        message = (
            f"The server lists its rooms, but {FAILURES} requests for them in a row ran out of time or were answered "
            f"with nonsense: they wait, and one at a time finds out whether it answers again. {_LOOK_AT_SERVERS}"
        )
        return Observed(CONDITION_DEGRADED, True, "ServerUnreachable", message)
    if not ready.status:
        return Observed(CONDITION_DEGRADED, False, "AsExpected", "Nothing is known to be wrong.")
    if server.spec.redis and server.spec.redis.managed and server.spec.replicas > 1:
        message = "Nothing is wrong; the managed Redis is one pod without a copy, for trying out."
        return Observed(CONDITION_DEGRADED, False, "AsExpected", message)
    return Observed(CONDITION_DEGRADED, False, "AsExpected", "Nothing is wrong.")


def _first_problem(observed: Observation) -> Blocked | None:
    """Return what keeps a server from what it should be: what the operator found first, then what pods say."""
    troubles = [item.trouble for item in observed.staying if item.trouble and not item.view.up]
    # A server that waits for the place of the one it replaces is on its way.
    waiting = bool(observed.decided.waits_for) or any(item.view.leaving for item in observed.look.servers)
    troubles = [trouble for trouble in troubles if not (waiting and trouble.reason == "Unschedulable")]
    slots = [observed.surroundings.slot_problems[slot] for slot in sorted(observed.surroundings.slot_problems)]
    found = [*observed.problems, *troubles, *slots]
    wrong = [blocked for blocked in found if blocked.reason not in _ON_ITS_WAY]
    # The Secrets that cert-manager would write are missing only because it is, or does not write them.
    return min(wrong, key=lambda blocked: blocked.reason not in _WHY_A_SECRET_IS_MISSING, default=None)


def _shown_rooms(item: Server) -> str:
    if item.load is None:
        return item.view.name
    names = ", ".join(item.load.names[: server_pods.MOST_NAMES])
    return f"{item.view.name}: {names or f'{item.load.participants} participants in {item.load.rooms} rooms'}"


def _redis_is_silent(server: LiveKitServer, observed: Observation) -> Blocked | None:
    """Return that servers are not ready for what they do not hear from Redis, None when they are, or on their way."""
    still = not observed.serving and any(_stands_still(item) for item in observed.staying)
    if not (build.is_shared(server) and still and (_has_worked(server) or observed.still_long)):
        return None
    message = (
        "The servers run and are not ready: what they send themselves by Redis does not come back. Either Redis does "
        "not answer, or its user may not use every channel (ACL SETUSER … &*): check both. A server that has nobody is "
        "replaced after three minutes of it."
    )
    return Blocked("RedisUnreachable", message)


def _kept(server: LiveKitServer, kind: str = CONDITION_READY) -> Observed | None:
    """Return what a condition said last of Redis, None when it spoke of something else."""
    last = find(server.status.get("conditions"), kind)
    if last.get("reason") not in ("RedisRefused", "RedisUnreachable"):
        return None
    return Observed(kind, last.get("status") == "True", last["reason"], last["message"])


def _has_worked(server: LiveKitServer) -> bool:
    return _last_reason(server) in ("Ready", "RedisRefused", "RedisUnreachable", "ServerUnreachable")


def _stands_still(item: Server) -> bool:
    """Return whether a server runs and is not ready."""
    return not item.view.ready and not item.view.stuck and bool(item.pod["spec"].get("nodeName"))


def _last_reason(server: LiveKitServer) -> str | None:
    return find(server.status.get("conditions"), CONDITION_READY).get("reason")


def _plan(context: Context, server: LiveKitServer, look: Look) -> Plan:
    return plan(
        look.views,
        replicas=server.spec.replicas,
        shared=build.is_shared(server),
        drain_timeout=timedelta(seconds=server.spec.drain_timeout_seconds),
        now=context.now(),
    )


def _give_way(context: Context, server: LiveKitServer, look: Look, decided: Plan, surroundings: Surroundings) -> Plan:
    """Return the plan with an older server leaving for the address that the new one waits for."""
    waiting = [slot for slot in decided.start if slot in surroundings.slot_problems]
    service = context.children["Service"].get(
        (server.metadata.namespace, server_network.slot_name(server, min(waiting, default=0)))
    )
    if (
        server.spec.media.exposure != "LoadBalancer"
        or not waiting
        or service is None
        or server_network.has_address(service)
    ):
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
    problems: list[Blocked],
) -> float | None:
    """Do what was decided as far as nothing stands against it; return when to look again."""
    again = None
    blocked = (
        inputs is None or not surroundings.startable or any(problem.reason in _STARTS_NOTHING for problem in problems)
    )
    if decided.start and not blocked and inputs is not None and _needs_check(look.views):
        try:
            again = await server_check.check(context, server, inputs)
        except Blocked as refused:
            problems.append(refused)
            again = refused.retry_after
            blocked = True
        blocked = blocked or again is not None
    elif not any(not view.current and not view.leaving for view in look.views):
        await server_check.end_check(context, server)
    if blocked:
        decided = replace(decided, start=(), yields=())
    decided = _braked(context, server, look, decided)
    decided = replace(decided, leave=(*decided.leave, *decided.yields))
    try:
        soon = await server_pods.carry_out(context, server, look, decided, inputs, surroundings.slots)
    except Blocked as refused:
        problems.append(refused)
        return refused.retry_after
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


async def _finalize(context: Context, server: LiveKitServer) -> Outcome | None:
    """Let the servers end with their rooms, then the resource; Kubernetes deletes the rest.

    With `--cascade=orphan` they go on, and so do their calls.
    """
    if SERVER_FINALIZER not in server.metadata.finalizers:
        return None
    if is_orphaning(context, server):
        await remove_finalizer(context, server, SERVER_FINALIZER)
        return None
    forced = server.metadata.annotations.get(ANNOTATION_FORCE_DELETE) == "true"
    await server_check.end_check(context, server)
    key = await key_to_ask_with(context, server)
    look = await server_pods.look(context, server, None, key)
    if all(_is_overdue(context, item) or _is_lost(context, item) for item in look.servers):
        await remove_finalizer(context, server, SERVER_FINALIZER)
        return None
    leave = [Leave(view.name) for view in look.views if not view.leaving]
    hurried = [view for view in look.views if view.leaving and not view.hurried]
    leave += [Leave(view.name, FORCED_GRACE_SECONDS) for view in hurried if view.deserted or forced]
    decided = Plan(leave=tuple(replace(item, grace_seconds=FORCED_GRACE_SECONDS) if forced else item for item in leave))
    await server_pods.carry_out(context, server, look, decided, None, {})
    if forced:
        await server_pods.end_rooms(context, server, look, key)
    rooms = "; ".join(_shown_rooms(item) for item in look.servers)
    message = (
        f"Waiting until the rooms are empty, at the latest until {server_pods.deletion_deadline(server):%H:%M:%SZ}: "
        f"{rooms}. Annotate with {ANNOTATION_FORCE_DELETE}=true to end them now."
    )
    fields = {
        **server.status,
        "servers": [server_pods.describe(item, decided) for item in look.servers],
        "drainingReplicas": len(look.servers),
        "readyReplicas": 0,
    }
    fields = {key: value for key, value in fields.items() if key not in ("conditions", "observedGeneration")}
    conditions = [
        Observed.not_ready("Deleting", message),
        Observed(CONDITION_PROGRESSING, True, "Deleting", message),
        Observed(CONDITION_DEGRADED, False, "AsExpected", "It is being deleted."),
    ]
    return Outcome(conditions, fields, _DELETION_POLL_SECONDS)


def _is_overdue(context: Context, item: Server) -> bool:
    ends = item.pod["metadata"].get("deletionTimestamp")
    return ends is not None and context.now() > parse_timestamp(ends) + _LOST_MARGIN


def _is_lost(context: Context, item: Server) -> bool:
    """Return whether neither a leaving server answers nor its node: nobody is left to say that it has ended."""
    node = context.nodes.get(("", item.pod["spec"].get("nodeName") or ""))
    return item.view.leaving and item.load is None and node is not None and not node["ready"]


async def _forget(context: Context, key: Key) -> None:
    if access := context.servers.pop(key, None):
        await access.client.close()
    await server_pods.forget(context, key)
    context.key_states.pop(key, None)
    context.breakers.pop(key, None)
    context.bereaved.discard(key)
    context.pruned.pop(key, None)
    context.checked.pop(key, None)
    context.gateways.pop(key, None)
    context.dialed.pop(key, None)


async def _connect(context: Context, server: LiveKitServer, keys: KeyState, observed: Observation) -> ServerAccess:
    """Return the access to a server, a new one when keys or URLs changed, and wake who waits for it."""
    internal, external = server_network.internal_url(server), observed.reach.url or ""
    wanted = ServerKeys(keys.in_use.id, keys.in_use.secret, internal, external)
    access = context.servers.get(server.key)
    name = one_to_ask(observed.look.views, already=access is not None and access.url != internal)
    url = next((item.signal_url for item in observed.look.servers if item.view.name == name), internal)
    if access is not None and access.keys == wanted and access.url == url:
        access.accepted, access.claims_since = keys.accepted, keys.claims_since
        return access
    if access is not None:
        await access.client.close()
    client = _guarded(context, server.key, context.connect(url, keys.in_use.id, keys.in_use.secret))
    if access is not None and access.keys == wanted:
        access.client, access.url, access.accepted, access.answered = client, url, keys.accepted, None
        return access
    fresh = ServerAccess(client, wanted, keys.accepted, url=url, claims_since=keys.claims_since)
    if access is not None:
        fresh.rooms.doubtful, fresh.missed = set(access.rooms.doubtful), access.missed
    context.servers[server.key] = fresh
    context.wake_users(server.key)
    return fresh


def _guarded(context: Context, server: Key, client: LiveKit) -> LiveKit:
    """Return a client by which rooms do not ask while the server hangs; they are woken when it answers again."""
    breaker = context.breakers.setdefault(server, Breaker())

    def turned() -> None:
        context.wake("LiveKitServer", server)
        if not breaker.open:
            context.wake_users(server)

    return Guarded(client, breaker, context.now, turned).client


def _wake_rooms(context: Context, server: Key, changed: set[str] | None) -> None:
    """Wake the rooms that a listing shows changed; None means all of them, after the first listing."""
    if changed is None:
        context.wake_users(server)
        return
    for name in changed:
        context.wake_room(server, name)
