"""What a LiveKitServer says of itself: fields, servers, and conditions with what to do."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer, LiveKitServerStatus, ServerReplica, ServerState
from livekit_operator.conditions import UNDEGRADED_REASONS, Observed
from livekit_operator.constants import CONDITION_DEGRADED, CONDITION_PROGRESSING, CONDITION_READY
from livekit_operator.errors import CutOff, Problem
from livekit_operator.manifests.metadata import COMPONENT_SERVER, selector
from livekit_operator.moments import parse_timestamp, timestamp
from livekit_operator.reasons import Reason
from livekit_operator.reconciling.status import Outcome
from livekit_operator.servers.apply import Done
from livekit_operator.servers.decisions.breaker import FAILURES
from livekit_operator.servers.decisions.plan import Plan
from livekit_operator.servers.manifests import config
from livekit_operator.servers.manifests.names import is_shared, keys_secret_name
from livekit_operator.servers.manifests.pod import grace_seconds
from livekit_operator.servers.manifests.reach import firewall, internal_url
from livekit_operator.servers.observe import Observation
from livekit_operator.servers.pods import MOST_NAMES, Replica, Replicas
from livekit_operator.servers.reach import NO_URL
from livekit_operator.servers.replicas import SILENT_RETRY_SECONDS

_WHY_A_SECRET_IS_MISSING = (reasons.CERT_MANAGER_MISSING, reasons.CERTIFICATE_NOT_READY)
# Reasons that say only that something is on its way.
_ON_ITS_WAY = (reasons.PROGRESSING,)
# How soon servers that share rooms are observed again: clients are led to a lost one until it is missed.
_SHARED_POLL_SECONDS = 3.0
_SEE_SERVERS = "See its log and its node, and delete its pod if it hangs."


@dataclass(frozen=True)
class _Result:
    """A pass as conditions see it: what was observed, planned and done."""

    observed: Observation
    plan: Plan
    done: Done

    @property
    def replicas(self) -> Replicas:
        return self.observed.replicas

    @property
    def serving(self) -> list[Replica]:
        return self.observed.replicas.serving

    @property
    def problems(self) -> list[Problem]:
        return [*self.observed.problems, *self.done.problems]

    @property
    def unlisted(self) -> str | None:
        return self.done.listed.unlisted


def status(server: LiveKitServer, observed: Observation, plan: Plan, done: Done) -> Outcome:
    """Return the status after a pass, and when the next one is due."""
    result, replicas = _Result(observed, plan, done), observed.replicas
    ports = {slot: inputs.ports for slot, inputs in done.surroundings.slots.items() if inputs.ports}
    fields = LiveKitServerStatus(
        version=server.spec.version,
        replicas=len(replicas.staying),
        ready_replicas=len(replicas.serving),
        updated_replicas=sum(item.view.current and item.view.up for item in replicas.staying),
        draining_replicas=sum(item.view.leaving for item in replicas.every),
        internal_url=internal_url(server),
        external_url=done.reach.url,
        keys_secret_name=keys_secret_name(server),
        keys=observed.keys.status,
        redis=config.redis_description(server),
        ports=firewall(server, ports, signal_service=done.surroundings.signal_service),
        # What nobody answers for is not told from memory.
        servers=[describe(replace(item, told=item.load) if result.unlisted else item, plan) for item in replicas.every],
        rooms=done.listed.rooms,
        participants=done.listed.participants,
        selector=",".join(f"{key}={value}" for key, value in sorted(selector(server, COMPONENT_SERVER).items())),
    )
    ready = _ready(server, result)
    conditions = [ready, _progressing(server, result), _degraded(server, result, ready)]
    return Outcome(conditions, fields, _again(server, result))


def _again(server: LiveKitServer, result: _Result) -> float:
    """Return when the next pass is due (seconds)."""
    done, replicas = result.done, result.replicas
    waits = [*result.problems, *done.reach.unreached, *([done.reach.awaited] if done.reach.awaited else [])]
    due = [done.listed.seconds, done.again, *(problem.retry_after for problem in waits)]
    if sum(view.up for view in replicas.views) > 1 and is_shared(server):
        due.append(_SHARED_POLL_SECONDS)
    silent = any(item.view.ready and item.load is None for item in replicas.every)
    unverified = done.listed.unverified and bool(replicas.serving)
    if silent or unverified or (result.unlisted and is_shared(server)):
        due.append(SILENT_RETRY_SECONDS)
    return min(seconds for seconds in due if seconds)


def _ready(server: LiveKitServer, result: _Result) -> Observed:
    if server.spec.replicas == 0 and not result.replicas.staying:
        return Observed.not_ready(Problem(reasons.SCALED_TO_ZERO, "spec.replicas is 0: no server runs."))
    if not result.serving:
        return _unserved(server, result)
    if result.observed.refused:
        return Observed.not_ready(result.observed.refused)
    if result.observed.settling and _last_reason(server) != reasons.READY:
        return _kept(server) or Observed.not_ready(
            Problem(reasons.PROGRESSING, "Waiting whether the servers get on with Redis.")
        )
    if result.unlisted and _last_reason(server) not in (reasons.READY, reasons.SERVER_UNREACHABLE):
        # A pod is ready a moment before its Service leads to it.
        return Observed.not_ready(
            Problem(reasons.PROGRESSING, f"Waiting until the server can be reached: {result.unlisted}.")
        )
    if result.unlisted:
        return _unanswering(result)
    return _unreached(result) or Observed.ready(f"The server answers at {result.done.reach.url}.")


def _unserved(server: LiveKitServer, result: _Result) -> Observed:
    """Return why no server serves."""
    problem = _first_problem(result) or _redis_is_silent(server, result)
    if problem is not None:
        return Observed.not_ready(problem)
    silent = any(item.view.unreachable for item in result.replicas.staying)
    if result.unlisted and silent and _last_reason(server) in (reasons.READY, reasons.SERVER_UNREACHABLE):
        return _unanswering(result)
    kept = _kept(server) if result.observed.settling else None
    return kept or Observed.not_ready(Problem(reasons.PROGRESSING, "Waiting for a server to answer."))


def _unreached(result: _Result) -> Observed | None:
    """Return why clients do not come to the servers that serve; None when they do."""
    missing = next((found for found in result.done.reach.unreached if found.reason in NO_URL), None)
    if result.done.reach.url is None and missing:
        return Observed.not_ready(missing)
    if result.done.reach.url is None:
        return Observed.not_ready(Problem(reasons.PROGRESSING, "Waiting for an address that clients can use."))
    if waits := result.done.reach.awaited:
        return Observed.not_ready(waits)
    if cut := next((problem for problem in result.problems if isinstance(problem, CutOff)), None):
        return Observed.not_ready(cut)
    return None


def _unanswering(result: _Result) -> Observed:
    message = f"The server runs but does not answer: {result.unlisted}. {_SEE_SERVERS}"
    return Observed.not_ready(Problem(reasons.SERVER_UNREACHABLE, message))


def _progressing(server: LiveKitServer, result: _Result) -> Observed:
    wanted = server.spec.replicas
    leaving = [item for item in result.replicas.every if item.view.leaving]
    updated = sum(item.view.current for item in result.serving)

    def progressing(reason: Reason, message: str) -> Observed:
        return Observed(CONDITION_PROGRESSING, True, reason, message)

    if result.plan.waits_for:
        names = [shown_rooms(item) for item in result.replicas.staying if item.view.name in result.plan.waits_for]
        by = f", at the latest at {result.plan.deadline:%Y-%m-%dT%H:%M:%SZ}" if result.plan.deadline else ""
        return progressing(reasons.WAITING_FOR_ROOMS, f"Changes when these rooms are empty{by}: {'; '.join(names)}.")
    if any(not item.view.current or item.view.cordoned for item in result.replicas.staying):
        return progressing(reasons.ROLLING_OUT, f"{updated} of {wanted} servers are as wanted.")
    if updated < wanted:
        return progressing(reasons.STARTING, f"{updated} of {wanted} servers answer.")
    if len(result.replicas.staying) > wanted:
        return progressing(reasons.SCALING_DOWN, f"{len(result.replicas.staying) - wanted} servers are to leave.")
    if leaving:
        rooms = "; ".join(shown_rooms(item) for item in leaving)
        return progressing(reasons.DRAINING, f"{len(leaving)} servers leave when their rooms are empty: {rooms}.")
    if result.observed.keys.status.phase != "Stable":
        return progressing(reasons.ROTATING_KEYS, f"Keys: {result.observed.keys.status.phase}, see status.keys.")
    return Observed(CONDITION_PROGRESSING, False, reasons.UP_TO_DATE, "Every server is as wanted.")


def _degraded(server: LiveKitServer, result: _Result, ready: Observed) -> Observed:
    problem = (
        _first_problem(result) or _redis_is_silent(server, result) or next(iter(result.done.reach.unreached), None)
    )
    if problem is not None:
        return Observed(CONDITION_DEGRADED, True, problem.reason, problem.message)
    if not ready.status and ready.reason not in UNDEGRADED_REASONS:
        return Observed(CONDITION_DEGRADED, True, ready.reason, ready.message)
    if result.observed.settling and (kept := _kept(server, CONDITION_DEGRADED)):
        return kept
    lost = [item.view.name for item in result.replicas.staying if item.view.unreachable]
    if lost:
        message = f"These servers do not answer and get no new clients: {', '.join(lost)}. {_SEE_SERVERS}"
        return Observed(CONDITION_DEGRADED, True, reasons.SERVER_UNREACHABLE, message)
    if result.done.hangs:
        message = (
            f"The server lists its rooms, but {FAILURES} requests for them in a row ran out of time or were answered "
            f"with nonsense: they wait, and one at a time finds out whether it answers again. {_SEE_SERVERS}"
        )
        return Observed(CONDITION_DEGRADED, True, reasons.SERVER_UNREACHABLE, message)
    if not ready.status:
        return Observed(CONDITION_DEGRADED, False, reasons.AS_EXPECTED, "Nothing is known to be wrong.")
    if server.spec.redis and server.spec.redis.managed and server.spec.replicas > 1:
        message = "Nothing is wrong; the managed Redis is one pod without a copy, for trying out."
        return Observed(CONDITION_DEGRADED, False, reasons.AS_EXPECTED, message)
    return Observed(CONDITION_DEGRADED, False, reasons.AS_EXPECTED, "Nothing is wrong.")


def _first_problem(result: _Result) -> Problem | None:
    """Return what keeps a server from what it should be: what the operator found first, then what pods say."""
    troubles = [item.trouble for item in result.replicas.staying if item.trouble and not item.view.up]
    # A server that waits for the place of the one it replaces is on its way.
    waiting = bool(result.plan.waits_for) or any(item.view.leaving for item in result.replicas.every)
    troubles = [trouble for trouble in troubles if not (waiting and trouble.reason == reasons.UNSCHEDULABLE)]
    slots = [result.done.surroundings.slot_problems[slot] for slot in sorted(result.done.surroundings.slot_problems)]
    found = [*result.problems, *troubles, *slots]
    wrong = [blocked for blocked in found if blocked.reason not in _ON_ITS_WAY]
    # The Secrets that cert-manager would write are missing only because it is, or does not write them.
    return min(wrong, key=lambda blocked: blocked.reason not in _WHY_A_SECRET_IS_MISSING, default=None)


def shown_rooms(item: Replica) -> str:
    """Return a server's name and the rooms that it waits for."""
    if item.told is None:
        return item.view.name
    names = ", ".join(item.told.names[:MOST_NAMES])
    return f"{item.view.name}: {names or f'{item.told.participants} participants in {item.told.rooms} rooms'}"


def _redis_is_silent(server: LiveKitServer, result: _Result) -> Problem | None:
    """Return that servers are not ready for what they do not hear from Redis, None when they are, or on their way."""
    still = not result.serving and any(_stands_still(item) for item in result.replicas.staying)
    if not (is_shared(server) and still and (_has_worked(server) or result.observed.still_long)):
        return None
    message = (
        "The servers run and are not ready: what they send themselves by Redis does not come back. Either Redis does "
        "not answer, or its user may not use every channel (ACL SETUSER … &*): check both. A server that has nobody is "
        "replaced after three minutes of it."
    )
    return Problem(reasons.REDIS_UNREACHABLE, message)


def _kept(server: LiveKitServer, kind: str = CONDITION_READY) -> Observed | None:
    """Return what a condition said last of Redis, None when it spoke of something else."""
    last = server.last.condition(kind)
    if last is None or last.reason not in (reasons.REDIS_REFUSED, reasons.REDIS_UNREACHABLE):
        return None
    return Observed(kind, last.status == "True", Reason(last.reason), last.message)


def _has_worked(server: LiveKitServer) -> bool:
    return _last_reason(server) in (
        reasons.READY,
        reasons.REDIS_REFUSED,
        reasons.REDIS_UNREACHABLE,
        reasons.SERVER_UNREACHABLE,
    )


def _stands_still(item: Replica) -> bool:
    """Return whether a server runs and is not ready."""
    return not item.view.ready and not item.view.stuck and bool(item.pod["spec"].get("nodeName"))


def _last_reason(server: LiveKitServer) -> str | None:
    return server.last.reason(CONDITION_READY)


def describe(item: Replica, plan: Plan) -> ServerReplica:
    """Return one line of `status.servers`."""
    view, load = item.view, item.told
    leaves_by = item.pod["metadata"].get("deletionTimestamp") if view.leaving else None
    waits = view.name in plan.waits_for
    if waits and plan.deadline:
        leaves_by = timestamp(plan.deadline)
    return ServerReplica(
        name=view.name,
        node=item.pod["spec"].get("nodeName"),
        address=item.media_address,
        state=_state(item),
        rooms=load.rooms if load else None,
        participants=load.participants if load else None,
        leaves_by=leaves_by,
        waits_for=(list(load.names[:MOST_NAMES]) or None) if load and (view.leaving or waits) else None,
    )


def _state(item: Replica) -> ServerState:
    view = item.view
    if view.leaving:
        return "Draining"
    if view.finished or (view.stuck and not view.unschedulable):
        return "Failed"
    if view.unreachable:
        return "Unreachable"
    if view.ready:
        return "Serving" if view.serving else "Standby"
    return "Pending" if view.unschedulable or not item.pod["spec"].get("nodeName") else "Starting"


def deletion_deadline(server: LiveKitServer) -> datetime:
    """Return when a deleted server's calls end at the latest."""
    began = parse_timestamp(server.metadata.deletion_timestamp or "")
    return began + timedelta(seconds=grace_seconds(server))
