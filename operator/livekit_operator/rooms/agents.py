"""The agents of a room: which are asked for, which are there, and why none joins.

The same for rooms that a MeetingRoom declares, and for those that a pool serves by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.meetingroom import MeetingRoom, RoomAgent
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.conditions import find
from livekit_operator.constants import CONDITION_AGENTS_AVAILABLE, CONDITION_READY
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked, Problem
from livekit_operator.pools.access import find_pool, pool_allows, pool_at
from livekit_operator.pools.decisions.agent_problems import ASKED_AGAIN, CONNECT_HINT, PERSONAL_REASONS
from livekit_operator.pools.decisions.history import pick_deployment
from livekit_operator.pools.manifests.children import agent_name
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.metrics import PoolMetrics
from livekit_operator.reconciling.references import target
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions.dispatching import CONNECT_SECONDS, Decision, State, WantedAgent, decide_dispatch
from livekit_operator.rooms.decisions.settings import AgentNames
from livekit_operator.rooms.memory import AskedAgent
from livekit_operator.servers.access import allows
from livekit_operator.servers.memory import ServerAccess
from livekit_operator.views import AgentRequest, DispatchView, ParticipantView, RoomView

# Reasons of a pool that is not ready that are over by themselves.
_MOMENTARY = (reasons.PROGRESSING, reasons.ROLLING_OUT)
# Of the time between two listings of a server's rooms: by then there was another one.
_NEXT_LISTING = 1.5


@dataclass(frozen=True)
class AgentObservation:
    """One pool of the room: what was decided for it, what its agent does, or why it cannot serve."""

    pool: str
    agent_name: str
    decision: Decision
    activity: str | None = None
    problem: Problem | None = None


@dataclass(frozen=True)
class Candidate:
    """A pool that is to serve the room; `memory` is None for one that cannot serve at all."""

    reference: RoomAgent
    shown: str
    key: Key
    agent_name: str
    memory: PoolMemory | None
    problem: Problem | None = None


@dataclass(frozen=True)
class Wanted:
    """Which pools are to serve the room `key`; `before` is pool -> what its status last said of that.

    It is `active` if an agent was there or on its way, which may have been left behind. Agents of others may wait alone
    in a room that is not `declared`: it is served only while somebody is in it, or while it is active.
    """

    key: Key
    candidates: Sequence[Candidate]
    before: Mapping[str, Mapping[str, str]]
    active: bool
    declared: bool = True


async def ensure_agents(
    context: Context, room: MeetingRoom, access: ServerAccess, view: RoomView
) -> tuple[RoomView, list[AgentObservation]]:
    """Ask for the agents that a MeetingRoom needs now; return the room with its people counted again."""
    before = room.status.get("agents") or ()
    wanted = Wanted(
        room.key,
        [_candidate(context, room, reference) for reference in room.spec.agents],
        {agent["pool"]: agent for agent in before},
        any(agent["state"] in ("Joined", "Dispatched") for agent in before),
    )
    return await serve(context, wanted, access, view)


def agent_names(context: Context, room: MeetingRoom, server: LiveKitServer) -> AgentNames:
    """Return which agents a room may ask for by name; in the server's own namespace every one."""
    namespace, spec = room.metadata.namespace, room.spec
    if namespace == server.metadata.namespace:
        return AgentNames()
    many = [*spec.tokens, *([spec.generate_tokens] if spec.generate_tokens else [])]
    if not spec.agent_dispatches and not any(token.room_configuration for token in many):
        return AgentNames(f"{namespace}/")
    others = set()
    for key in context.users.pools_of(server.key):
        try:
            pool = pool_at(context, key)
        except Blocked:
            continue
        if pool is not None and allows(server, pool) and pool_allows(pool, room):
            others.add(agent_name(pool))
    return AgentNames(f"{namespace}/", frozenset(others))


async def serve(
    context: Context, wanted: Wanted, access: ServerAccess, view: RoomView
) -> tuple[RoomView, list[AgentObservation]]:
    """Ask for the agents that are needed now; return the room with its people counted again."""
    candidates = wanted.candidates
    served = {pool: told["agentName"] for pool, told in wanted.before.items()}
    on_create = any(candidate.reference.dispatch == "OnCreate" for candidate in candidates)
    if not (view.participants or view.name in access.rooms.dirty or on_create or wanted.active):
        return view, _unneeded(wanted)
    access.rooms.dirty.discard(view.name)
    participants = await access.client.list_participants(view.name)
    people = sum(p.agent_name is None for p in participants)
    if candidates and (access.rooms.is_unlisted(view.name) or (view.participants and not people)):
        # The last person has just left, which the next listing shows too, or Redis has lost who is there, which would
        # cost a call its agent.
        again = _NEXT_LISTING * access.rooms.listing_seconds(context.settings.server_poll_seconds)
        return _counted(access, view, people), [_as_before(wanted, candidate, again) for candidate in candidates]
    view = _counted(access, view, people)
    if not (view.participants or wanted.declared or wanted.active):
        return view, _unneeded(wanted)
    dispatches = await access.client.list_dispatches(view.name) if candidates or served else []
    present = {p.agent_name for p in participants} | {dispatch.agent_name for dispatch in dispatches}
    participants, dispatches = await _without_former(access, view, candidates, served, participants, dispatches)
    lonely = access.rooms.lonely_seconds(view.name, people=view.participants, now=context.now())
    memories = context.asked_agents.setdefault(wanted.key, {})
    decided: dict[str, Decision] = {}
    seen: dict[str, AgentObservation] = {}
    for candidate in sorted(candidates, key=lambda one: _in_vain(wanted.key, one)):
        # Two pools may share a name; the room wants one agent of it.
        same = decided.get(candidate.agent_name)
        if same is not None:
            decision = replace(same, create=False, delete=(), remove=())
            if candidate.memory is not None:
                candidate.memory.served(wanted.key)
        else:
            asked = memories.setdefault(candidate.agent_name, AskedAgent())
            decision = _decide(wanted.key, view, asked, candidate, participants, dispatches, lonely)
            asked.note(decision)
            await _act(context, wanted.key, access, view, candidate, decision)
            _note_unconnected(context, wanted.key, candidate, asked)
            if decision.state == "Joined" and candidate.memory is not None:
                ours = (p for p in participants if p.agent_name == candidate.agent_name and p.connected)
                agents = frozenset(p.identity for p in ours)
                candidate.memory.has_joined(wanted.key, view.name, agents)
            if candidate.agent_name:
                decided[candidate.agent_name] = decision
        activity = next((p.state for p in participants if p.agent_name == candidate.agent_name and p.state), None)
        problem = candidate.problem or _problem(wanted.key, candidate, decision, memories.get(candidate.agent_name))
        # An agent that still has the name from before a renaming is shown with it until the call ends.
        former = served.get(candidate.shown)
        name = former if former in present and former else candidate.agent_name
        seen[candidate.shown] = AgentObservation(candidate.shown, name, decision, activity, problem)
    return view, [seen[candidate.shown] for candidate in candidates]


async def _without_former(
    access: ServerAccess,
    view: RoomView,
    candidates: Sequence[Candidate],
    served: Mapping[str, str],
    participants: Sequence[ParticipantView],
    dispatches: Sequence[DispatchView],
) -> tuple[list[ParticipantView], list[DispatchView]]:
    """Return participants and dispatches, with the names that pools have now.

    `served` is pool -> the name of the agent that the room last had of it. A call goes on with its agent when the pool
    is renamed; the agent of a pool that the room no longer names is removed.
    """
    names = {candidate.shown: candidate.agent_name for candidate in candidates}
    renamed = {former: names[pool] for pool, former in served.items() if names.get(pool) not in (None, "", former)}
    dropped = {former for pool, former in served.items() if former and pool not in names} - set(names.values())
    for dispatch in [dispatch for dispatch in dispatches if dispatch.agent_name in dropped]:
        await access.client.delete_dispatch(view.name, dispatch.id)
    for person in [person for person in participants if person.agent_name in dropped]:
        await access.client.remove_participant(view.name, person.identity)
    return (
        [replace(p, agent_name=renamed.get(p.agent_name, p.agent_name)) if p.agent_name else p for p in participants],
        [
            replace(dispatch, agent_name=renamed.get(dispatch.agent_name, dispatch.agent_name))
            for dispatch in dispatches
        ],
    )


def _candidate(context: Context, room: MeetingRoom, reference: RoomAgent) -> Candidate:
    key = target(room, reference.pool_ref)
    shown = key[1] if key[0] == room.metadata.namespace else "/".join(key)
    pool = find_pool(context, room, reference.pool_ref)
    if key[0] != room.metadata.namespace and (pool is None or not pool_allows(pool, room)):
        if memory := context.pools.get(key):
            memory.served(room.key)
        return Candidate(reference, shown, key, "", None, _not_allowed(room, shown))
    if pool is None:
        problem = Problem(
            reasons.POOL_NOT_FOUND,
            f"VoiceAgentPool {shown} does not exist: create it, or name another one in spec.agents.",
        )
        return Candidate(reference, shown, key, "", None, problem)
    if target(pool, pool.spec.server_ref) != target(room, room.spec.server_ref):
        problem = Problem(
            reasons.POOL_ON_OTHER_SERVER,
            f"VoiceAgentPool {shown} serves another LiveKitServer: name one of this server in spec.agents.",
        )
        return Candidate(reference, shown, key, agent_name(pool), None, problem)
    memory = context.pool_memory(key)
    return Candidate(reference, shown, key, agent_name(pool), memory, _known_problem(pool, memory, shown))


def _not_allowed(room: MeetingRoom, shown: str) -> Problem:
    """Return the same message whether there is such a pool or not: it is another namespace's."""
    namespace = room.metadata.namespace
    message = (
        f"VoiceAgentPool {shown} does not exist, or does not let rooms of namespace {namespace} call its agents: "
        f"whoever has the pool adds {namespace} to its spec.allowedNamespaces."
    )
    return Problem(reasons.POOL_NOT_ALLOWED, message)


def _in_vain(room: Key, candidate: Candidate) -> tuple[bool, bool]:
    """Return why another pool of the same name is asked first: this one never is, or has no place."""
    memory = candidate.memory
    return candidate.reference.dispatch == "Never", memory is None or not memory.has_place(room)


def _known_problem(pool: VoiceAgentPool, memory: PoolMemory, shown: str) -> Problem | None:
    """Return the pool's problem that concerns each of its rooms, whether somebody waits in it or not."""
    conditions = pool.status.get("conditions")
    if not conditions:
        return Problem(
            reasons.NO_WORKER_REGISTERED,
            f"VoiceAgentPool {shown} has not been looked at yet: see the operator's log if that lasts.",
        )
    condition, ready = find(conditions, CONDITION_AGENTS_AVAILABLE), find(conditions, CONDITION_READY)
    if condition.get("status") != "False":
        return None
    # Ten thousand rooms need not report it each time that all pods are gone for a moment.
    lasts = memory.unborn or (ready.get("status") == "False" and ready["reason"] not in _MOMENTARY)
    if condition["reason"] in PERSONAL_REASONS and not (lasts and not pool.status.get("readyReplicas")):
        return None
    return Problem(condition["reason"], f"VoiceAgentPool {shown}: {condition['message']}")


def _note_unconnected(context: Context, room: Key, candidate: Candidate, asked: AskedAgent) -> None:
    """Note in the pool's memory whether its agents join this room and are not connected."""
    if candidate.memory is not None and asked.unconnected:
        candidate.memory.unconnected.setdefault(room, context.now())
    elif candidate.memory is not None:
        candidate.memory.unconnected.pop(room, None)


def _problem(room: Key, candidate: Candidate, decision: Decision, asked: AskedAgent | None) -> Problem | None:
    """Return why somebody in this room waits for an agent."""
    if asked is not None and asked.unconnected:
        return Problem(
            reasons.AGENT_NOT_CONNECTED,
            f"VoiceAgentPool {candidate.shown}: its agent joined the room and was not connected within "
            f"{CONNECT_SECONDS:.0f} s: {CONNECT_HINT}.",
        )
    if decision.state != "Unavailable" and not (decision.state == "Dispatched" and decision.attempts > 1):
        return None
    if decision.state == "Unavailable" and candidate.memory and candidate.memory.share_is_reached(room):
        namespace = candidate.memory.namespace_of(room)
        message = (
            f"VoiceAgentPool {candidate.shown}: namespace {namespace} has its share of the places, and the free ones "
            "are kept for others. It gets another one when a call of its own ends, or when the pool grows: raise its "
            "spec.autoscaling.maxReplicas."
        )
        return Problem(reasons.SHARE_REACHED, message)
    told = candidate.memory.problem if candidate.memory else None
    if told is None:
        message = f"VoiceAgentPool {candidate.shown}: an agent was asked for and has not come yet. {ASKED_AGAIN}"
        return Problem(reasons.DISPATCH_PENDING, message)
    return Problem(told.reason, f"VoiceAgentPool {candidate.shown}: {told.message}")


def _counted(access: ServerAccess, view: RoomView, people: int) -> RoomView:
    """Return a room with the number of people seen in it, unless Redis has lost who is there."""
    if access.rooms.is_unlisted(view.name):
        return view
    counted = replace(view, participants=people)
    access.rooms.put(counted)
    return counted


def _as_before(wanted: Wanted, candidate: Candidate, again: float) -> AgentObservation:
    """Return what was last reported of a pool, to be checked again."""
    told = wanted.before.get(candidate.shown, {})
    known: dict[str, State] = {state: state for state in get_args(State)}
    decision = Decision(known.get(told.get("state", ""), "Waiting"), again=again)
    name = told.get("agentName") or candidate.agent_name
    problem = candidate.problem or _problem(wanted.key, candidate, decision, None)
    return AgentObservation(candidate.shown, name, decision, told.get("activity"), problem)


def _unneeded(wanted: Wanted) -> list[AgentObservation]:
    """Return the observations of agents that nobody needs."""
    seen = []
    for candidate in wanted.candidates:
        if candidate.memory is not None:
            candidate.memory.served(wanted.key)
        state = Decision("Waiting" if candidate.memory is not None else "Unavailable")
        seen.append(AgentObservation(candidate.shown, candidate.agent_name, state, None, candidate.problem))
    return seen


def _decide(
    room: Key,
    view: RoomView,
    asked: AskedAgent,
    candidate: Candidate,
    participants: Sequence[ParticipantView],
    dispatches: Sequence[DispatchView],
    lonely_seconds: float,
) -> Decision:
    memory, policy = candidate.memory, candidate.reference.dispatch
    attempts, calls = asked.attempts, asked.calls
    if memory is None:
        wanted = WantedAgent(candidate.agent_name, policy, available=False)
        return decide_dispatch(wanted, participants, dispatches, lonely_seconds=lonely_seconds, attempts=attempts)
    deployment = ""
    if memory.canary and pick_deployment(memory.canary_weight, f"{view.name}/{calls}"):
        # A call never waits for the canary: if that has no place, the stable workers take it.
        deployment = memory.canary.deployment if memory.has_place(room, memory.canary.deployment) else ""
    wanted = WantedAgent(
        candidate.agent_name, policy, available=memory.has_place(room, deployment), deployment=deployment
    )
    return decide_dispatch(
        wanted,
        participants,
        dispatches,
        lonely_seconds=lonely_seconds,
        lost=frozenset(memory.lost),
        attempts=attempts,
    )


async def _act(
    context: Context,
    room: Key,
    access: ServerAccess,
    view: RoomView,
    candidate: Candidate,
    decision: Decision,
) -> None:
    """Remove dead agents, delete and create dispatches, and note in the pool's memory which room waits."""
    now, memory = context.now(), candidate.memory
    for identity in decision.remove:
        await access.client.remove_participant(view.name, identity)
        if memory is not None and identity.removeprefix("agent-") in memory.lost:
            context.metrics.of(PoolMetrics).lost.labels(*candidate.key).inc()
    for dispatch_id in decision.delete:
        await access.client.delete_dispatch(view.name, dispatch_id)
    if decision.create:
        given = candidate.reference
        wanted = AgentRequest(
            candidate.agent_name, given.metadata or "", tuple(sorted(given.attributes.items())), decision.deployment
        )
        if memory is not None:
            # Before the request: other rooms look for a place while it is on its way.
            memory.promise(room, view.name, decision.deployment, now)
        await access.client.create_dispatch(view.name, wanted)
    if memory is None:
        return
    if decision.state == "Unavailable":
        if memory.wait(room, now):
            context.wake("VoiceAgentPool", candidate.key)
    elif decision.state == "Dispatched":
        memory.asked(room, again=decision.attempts > 1, now=now)
    elif decision.state == "Waiting":
        memory.served(room)
