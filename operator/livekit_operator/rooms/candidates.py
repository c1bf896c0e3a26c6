"""The pools that are to serve a room, and whether they may."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.meetingroom import MeetingRoom, RoomAgent, RoomAgentStatus
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import CONDITION_AGENTS_AVAILABLE, CONDITION_READY
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked, Problem
from livekit_operator.moments import parse_timestamp
from livekit_operator.pools.access import find_pool, pool_allows, pool_at
from livekit_operator.pools.decisions.agent_problems import PERSONAL_REASONS
from livekit_operator.pools.manifests.children import agent_name
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.reasons import Reason
from livekit_operator.reconciling.references import target
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions import lifecycle
from livekit_operator.rooms.decisions.scene import Reported
from livekit_operator.rooms.decisions.settings import AgentNames
from livekit_operator.servers.access import allows
from livekit_operator.servers.links import as_pool

# Reasons of a pool that is not ready that are over by themselves.
_MOMENTARY = (reasons.PROGRESSING, reasons.ROLLING_OUT)


@dataclass(frozen=True)
class Candidate:
    """A pool that is to serve the room; `memory` is None for one that cannot serve at all."""

    reference: RoomAgent
    shown: str
    key: Key
    agent_name: str
    memory: PoolMemory | None
    problem: Problem | None = None
    refused: bool = False
    """Whether the room may not call it, or no longer."""


@dataclass(frozen=True)
class Wanted:
    """Which pools are to serve the room `key`; `before` is pool -> what its status last said of that.

    It is `active` if an agent was there or on its way, which may have been left behind. Agents of others may wait alone
    in a room that is not `declared`: it is served only while somebody is in it, or while it is active.
    """

    key: Key
    candidates: Sequence[Candidate]
    before: Mapping[str, Reported]
    active: bool
    declared: bool = True
    called: bool = False
    """Whether people ask by an annotation that agents are called, whatever became of those before."""


def wanted_of(context: Context, room: MeetingRoom, agents: Sequence[RoomAgent]) -> Wanted:
    """Return which pools are to serve a MeetingRoom."""
    before = room.last.agents
    return Wanted(
        room.key,
        [_candidate(context, room, reference) for reference in agents],
        {agent.pool: _reported(agent) for agent in before},
        any(agent.state in ("Joined", "Dispatched") for agent in before),
        called=lifecycle.calls_agents(room),
    )


def _reported(agent: RoomAgentStatus) -> Reported:
    try:
        left_at = parse_timestamp(agent.left_at) if agent.left_at else None
    except ValueError:
        left_at = None
    return Reported(agent.agent_name, agent.state, agent.activity, left_at)


def agent_names(context: Context, room: MeetingRoom, server: LiveKitServer) -> AgentNames:
    """Return which agents a room may ask for by name; in the server's own namespace every one."""
    namespace, spec = room.metadata.namespace, room.spec
    if namespace == server.metadata.namespace:
        return AgentNames()
    many = [*spec.tokens, *([spec.generate_tokens] if spec.generate_tokens else [])]
    if not spec.agent_dispatches and not any(token.room_configuration for token in many):
        return AgentNames(f"{namespace}/")
    others = set()
    for key in context.users.keys_of(as_pool(server.key)):
        try:
            pool = pool_at(context, key)
        except Blocked:
            continue
        if pool is not None and allows(server, pool) and pool_allows(pool, room):
            others.add(agent_name(pool))
    return AgentNames(f"{namespace}/", frozenset(others))


def _candidate(context: Context, room: MeetingRoom, reference: RoomAgent) -> Candidate:
    key = target(room, reference.pool_ref)
    shown = key[1] if key[0] == room.metadata.namespace else "/".join(key)
    pool = find_pool(context, room, reference.pool_ref)
    if key[0] != room.metadata.namespace and (pool is None or not pool_allows(pool, room)):
        return Candidate(reference, shown, key, "", None, _not_allowed(room, shown), refused=True)
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


def _known_problem(pool: VoiceAgentPool, memory: PoolMemory, shown: str) -> Problem | None:
    """Return the pool's problem that concerns each of its rooms, whether somebody waits in it or not."""
    told = pool.last
    if not told.conditions:
        return Problem(
            reasons.NO_WORKER_REGISTERED,
            f"VoiceAgentPool {shown} has not been reconciled yet: see the operator's log if that lasts.",
        )
    condition, ready = told.condition(CONDITION_AGENTS_AVAILABLE), told.condition(CONDITION_READY)
    if condition is None or condition.status != "False":
        return None
    # Ten thousand rooms need not report it each time that all pods are gone for a moment.
    lasts = memory.unborn or (ready is not None and ready.status == "False" and ready.reason not in _MOMENTARY)
    if condition.reason in PERSONAL_REASONS and not (lasts and not told.ready_replicas):
        return None
    return Problem(Reason(condition.reason), f"VoiceAgentPool {shown}: {condition.message}")
