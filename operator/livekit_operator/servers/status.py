"""What a LiveKitServer says of itself: fields, servers, and conditions with what to do."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer, LiveKitServerStatus, ServerReplica, ServerState
from livekit_operator.conditions import UNDEGRADED_REASONS, Observed, find
from livekit_operator.constants import CONDITION_DEGRADED, CONDITION_PROGRESSING, CONDITION_READY
from livekit_operator.errors import CutOff, Problem
from livekit_operator.manifests.metadata import COMPONENT_SERVER, selector
from livekit_operator.moments import parse_timestamp, timestamp
from livekit_operator.reasons import Reason
from livekit_operator.reconciling.status import Outcome
from livekit_operator.servers.decisions.breaker import FAILURES
from livekit_operator.servers.decisions.rollout import Plan
from livekit_operator.servers.keys import ServerKeyring
from livekit_operator.servers.manifests import config
from livekit_operator.servers.manifests.names import is_shared, keys_secret_name
from livekit_operator.servers.manifests.pod import grace_seconds
from livekit_operator.servers.manifests.reach import firewall, internal_url
from livekit_operator.servers.pods import MOST_NAMES, Look, Server
from livekit_operator.servers.reach import NO_URL, Reach
from livekit_operator.servers.surroundings import Surroundings

_WHY_A_SECRET_IS_MISSING = (reasons.CERT_MANAGER_MISSING, reasons.CERTIFICATE_NOT_READY)
# Reasons that say only that something is on its way.
_ON_ITS_WAY = (reasons.PROGRESSING,)
_LOOK_AT_SERVERS = "See its log and its node, and delete its pod if it hangs."


@dataclass(frozen=True)
class Observation:
    """What is there: keys, Services, servers, what was decided, the rooms or why they cannot be listed."""

    keys: ServerKeyring
    surroundings: Surroundings
    look: Look
    decided: Plan
    reach: Reach
    problems: list[Problem]
    rooms: int | None = None
    participants: int | None = None
    unlisted: str | None = None
    hangs: bool = False
    """Whether requests for its rooms run out of time, though it lists them."""
    refused: Problem | None = None
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


def decide(server: LiveKitServer, observed: Observation, poll_seconds: float) -> Outcome:
    """Return the status of what was observed."""
    ports = {slot: inputs.ports for slot, inputs in observed.surroundings.slots.items() if inputs.ports}
    fields = LiveKitServerStatus(
        version=server.spec.version,
        replicas=len(observed.staying),
        ready_replicas=len(observed.serving),
        updated_replicas=sum(item.view.current and item.view.up for item in observed.staying),
        draining_replicas=sum(item.view.leaving for item in observed.look.servers),
        internal_url=internal_url(server),
        external_url=observed.reach.url,
        keys_secret_name=keys_secret_name(server),
        keys=observed.keys.status,
        redis=config.redis_description(server),
        ports=firewall(server, ports, signal_service=observed.surroundings.signal_service),
        servers=[describe(item, observed.decided) for item in observed.look.servers],
        rooms=observed.rooms,
        participants=observed.participants,
        selector=",".join(f"{key}={value}" for key, value in sorted(selector(server, COMPONENT_SERVER).items())),
    )
    ready = _ready(server, observed)
    return Outcome([ready, _progressing(server, observed), _degraded(server, observed, ready)], fields, poll_seconds)


def _ready(server: LiveKitServer, observed: Observation) -> Observed:
    if server.spec.replicas == 0 and not observed.staying:
        return Observed.not_ready(Problem(reasons.SCALED_TO_ZERO, "spec.replicas is 0: no server runs."))
    if not observed.serving:
        return _unserved(server, observed)
    if observed.refused:
        return Observed.not_ready(observed.refused)
    if observed.settling and _last_reason(server) != reasons.READY:
        return _kept(server) or Observed.not_ready(
            Problem(reasons.PROGRESSING, "Waiting whether the servers get on with Redis.")
        )
    if observed.unlisted and _last_reason(server) not in (reasons.READY, reasons.SERVER_UNREACHABLE):
        # A pod is ready a moment before its Service leads to it.
        return Observed.not_ready(
            Problem(reasons.PROGRESSING, f"Waiting until the server can be reached: {observed.unlisted}.")
        )
    if observed.unlisted:
        return _unanswering(observed)
    return _unreached(observed) or Observed.ready(f"The server answers at {observed.reach.url}.")


def _unserved(server: LiveKitServer, observed: Observation) -> Observed:
    """Return why no server serves."""
    problem = _first_problem(observed) or _redis_is_silent(server, observed)
    if problem is not None:
        return Observed.not_ready(problem)
    silent = any(item.view.unreachable for item in observed.staying)
    if observed.unlisted and silent and _last_reason(server) in (reasons.READY, reasons.SERVER_UNREACHABLE):
        return _unanswering(observed)
    kept = _kept(server) if observed.settling else None
    return kept or Observed.not_ready(Problem(reasons.PROGRESSING, "Waiting for a server to answer."))


def _unreached(observed: Observation) -> Observed | None:
    """Return why clients do not come to the servers that serve; None when they do."""
    missing = next((found for found in observed.reach.unreached if found.reason in NO_URL), None)
    if observed.reach.url is None and missing:
        return Observed.not_ready(missing)
    if observed.reach.url is None:
        return Observed.not_ready(Problem(reasons.PROGRESSING, "Waiting for an address that clients can use."))
    if waits := observed.reach.awaited:
        return Observed.not_ready(waits)
    if cut := next((problem for problem in observed.problems if isinstance(problem, CutOff)), None):
        return Observed.not_ready(cut)
    return None


def _unanswering(observed: Observation) -> Observed:
    message = f"The server runs but does not answer: {observed.unlisted}. {_LOOK_AT_SERVERS}"
    return Observed.not_ready(Problem(reasons.SERVER_UNREACHABLE, message))


def _progressing(server: LiveKitServer, observed: Observation) -> Observed:
    wanted = server.spec.replicas
    leaving = [item for item in observed.look.servers if item.view.leaving]
    updated = sum(item.view.current for item in observed.serving)

    def progressing(reason: Reason, message: str) -> Observed:
        return Observed(CONDITION_PROGRESSING, True, reason, message)

    if observed.decided.waits_for:
        names = [shown_rooms(item) for item in observed.staying if item.view.name in observed.decided.waits_for]
        by = f", at the latest at {observed.decided.deadline:%Y-%m-%dT%H:%M:%SZ}" if observed.decided.deadline else ""
        return progressing(reasons.WAITING_FOR_ROOMS, f"Changes when these rooms are empty{by}: {'; '.join(names)}.")
    if any(not item.view.current or item.view.cordoned for item in observed.staying):
        return progressing(reasons.ROLLING_OUT, f"{updated} of {wanted} servers are as wanted.")
    if updated < wanted:
        return progressing(reasons.STARTING, f"{updated} of {wanted} servers answer.")
    if len(observed.staying) > wanted:
        return progressing(reasons.SCALING_DOWN, f"{len(observed.staying) - wanted} servers are to leave.")
    if leaving:
        rooms = "; ".join(shown_rooms(item) for item in leaving)
        return progressing(reasons.DRAINING, f"{len(leaving)} servers leave when their rooms are empty: {rooms}.")
    if observed.keys.status.phase != "Stable":
        return progressing(reasons.ROTATING_KEYS, f"Keys: {observed.keys.status.phase}, see status.keys.")
    return Observed(CONDITION_PROGRESSING, False, reasons.UP_TO_DATE, "Every server is as wanted.")


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
        return Observed(CONDITION_DEGRADED, True, reasons.SERVER_UNREACHABLE, message)
    if observed.hangs:
        message = (
            f"The server lists its rooms, but {FAILURES} requests for them in a row ran out of time or were answered "
            f"with nonsense: they wait, and one at a time finds out whether it answers again. {_LOOK_AT_SERVERS}"
        )
        return Observed(CONDITION_DEGRADED, True, reasons.SERVER_UNREACHABLE, message)
    if not ready.status:
        return Observed(CONDITION_DEGRADED, False, reasons.AS_EXPECTED, "Nothing is known to be wrong.")
    if server.spec.redis and server.spec.redis.managed and server.spec.replicas > 1:
        message = "Nothing is wrong; the managed Redis is one pod without a copy, for trying out."
        return Observed(CONDITION_DEGRADED, False, reasons.AS_EXPECTED, message)
    return Observed(CONDITION_DEGRADED, False, reasons.AS_EXPECTED, "Nothing is wrong.")


def _first_problem(observed: Observation) -> Problem | None:
    """Return what keeps a server from what it should be: what the operator found first, then what pods say."""
    troubles = [item.trouble for item in observed.staying if item.trouble and not item.view.up]
    # A server that waits for the place of the one it replaces is on its way.
    waiting = bool(observed.decided.waits_for) or any(item.view.leaving for item in observed.look.servers)
    troubles = [trouble for trouble in troubles if not (waiting and trouble.reason == reasons.UNSCHEDULABLE)]
    slots = [observed.surroundings.slot_problems[slot] for slot in sorted(observed.surroundings.slot_problems)]
    found = [*observed.problems, *troubles, *slots]
    wrong = [blocked for blocked in found if blocked.reason not in _ON_ITS_WAY]
    # The Secrets that cert-manager would write are missing only because it is, or does not write them.
    return min(wrong, key=lambda blocked: blocked.reason not in _WHY_A_SECRET_IS_MISSING, default=None)


def shown_rooms(item: Server) -> str:
    """Return a server's name and the rooms that it waits for."""
    if item.load is None:
        return item.view.name
    names = ", ".join(item.load.names[:MOST_NAMES])
    return f"{item.view.name}: {names or f'{item.load.participants} participants in {item.load.rooms} rooms'}"


def _redis_is_silent(server: LiveKitServer, observed: Observation) -> Problem | None:
    """Return that servers are not ready for what they do not hear from Redis, None when they are, or on their way."""
    still = not observed.serving and any(_stands_still(item) for item in observed.staying)
    if not (is_shared(server) and still and (_has_worked(server) or observed.still_long)):
        return None
    message = (
        "The servers run and are not ready: what they send themselves by Redis does not come back. Either Redis does "
        "not answer, or its user may not use every channel (ACL SETUSER … &*): check both. A server that has nobody is "
        "replaced after three minutes of it."
    )
    return Problem(reasons.REDIS_UNREACHABLE, message)


def _kept(server: LiveKitServer, kind: str = CONDITION_READY) -> Observed | None:
    """Return what a condition said last of Redis, None when it spoke of something else."""
    last = find(server.status.get("conditions"), kind)
    if last.get("reason") not in (reasons.REDIS_REFUSED, reasons.REDIS_UNREACHABLE):
        return None
    return Observed(kind, last.get("status") == "True", last["reason"], last["message"])


def _has_worked(server: LiveKitServer) -> bool:
    return _last_reason(server) in (
        reasons.READY,
        reasons.REDIS_REFUSED,
        reasons.REDIS_UNREACHABLE,
        reasons.SERVER_UNREACHABLE,
    )


def _stands_still(item: Server) -> bool:
    """Return whether a server runs and is not ready."""
    return not item.view.ready and not item.view.stuck and bool(item.pod["spec"].get("nodeName"))


def _last_reason(server: LiveKitServer) -> str | None:
    return find(server.status.get("conditions"), CONDITION_READY).get("reason")


def describe(item: Server, decided: Plan) -> ServerReplica:
    """Return one line of `status.servers`."""
    view, load = item.view, item.load
    leaves_by = item.pod["metadata"].get("deletionTimestamp") if view.leaving else None
    waits = view.name in decided.waits_for
    if waits and decided.deadline:
        leaves_by = timestamp(decided.deadline)
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


def _state(item: Server) -> ServerState:
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
