"""The agents of a room: which are asked for, which are there, and why none joins.

The same for rooms that a MeetingRoom declares, and for those that a pool serves by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from livekit_operator.engine.cache import Key
from livekit_operator.pools.memory import Promise
from livekit_operator.pools.metrics import PoolMetrics
from livekit_operator.rooms.candidates import Candidate, Wanted
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions.agents import AgentPlan, AgentsPlan, decide_agents
from livekit_operator.rooms.decisions.asked import AskedAgent
from livekit_operator.rooms.decisions.scene import PoolFacts, Scene
from livekit_operator.servers.memory import ServerAccess
from livekit_operator.views import AgentRequest, ParticipantView, RoomView

# Of the time between two listings of a server's rooms: by then there was another one.
_NEXT_LISTING = 1.5


@dataclass(frozen=True)
class AgentsDone:
    """A room with its people counted again, who they are, and what was done about its agents, by pool."""

    view: RoomView
    people: Sequence[str]
    agents: Sequence[AgentPlan]


@dataclass(frozen=True)
class _Seen:
    view: RoomView
    scene: Scene


async def serve(context: Context, wanted: Wanted, access: ServerAccess, view: RoomView) -> AgentsDone:
    """Ask for the agents that are needed now."""
    seen = await _observe(context, wanted, access, view)
    plan = decide_agents(seen.scene)
    await _apply(context, wanted, access, view.name, plan)
    by_pool = {agent.pool: agent for agent in plan.agents}
    people = sorted(p.identity for p in seen.scene.participants if p.agent_name is None)
    agents = [by_pool[candidate.shown] for candidate in wanted.candidates]
    return AgentsDone(seen.view, people if seen.view.participants else [], agents)


async def _observe(context: Context, wanted: Wanted, access: ServerAccess, view: RoomView) -> _Seen:
    """Read who is in a room and which agents were asked for, if anybody may need one."""
    candidates, name = wanted.candidates, view.name
    on_create = any(candidate.reference.dispatch == "OnCreate" for candidate in candidates)
    if not (view.participants or name in access.rooms.dirty or on_create or wanted.active):
        return _Seen(view, _scene(context, wanted, name, need="None"))
    access.rooms.dirty.discard(name)
    participants = await access.client.list_participants(name)
    people = sum(p.agent_name is None for p in participants)
    if candidates and (access.rooms.is_unlisted(name) or (view.participants and not people)):
        # The last person has just left, which the next listing shows too, or Redis has lost who is there, which would
        # cost a call its agent.
        again = _NEXT_LISTING * access.rooms.listing_seconds(context.settings.server_poll_seconds)
        scene = _scene(context, wanted, name, need="Unknown", participants=participants, again=again)
        return _Seen(_counted(access, view, people), scene)
    view = _counted(access, view, people)
    if not (view.participants or wanted.declared or wanted.active):
        return _Seen(view, _scene(context, wanted, name, need="None", participants=participants))
    dispatches = await access.client.list_dispatches(name) if candidates or wanted.before else []
    lonely = access.rooms.lonely_seconds(name, people=view.participants, now=context.now())
    scene = _scene(context, wanted, name, need="Known", participants=participants)
    return _Seen(view, replace(scene, dispatches=dispatches, lonely_seconds=lonely))


def _scene(
    context: Context,
    wanted: Wanted,
    name: str,
    *,
    need: Literal["Known", "Unknown", "None"],
    participants: Sequence[ParticipantView] = (),
    again: float | None = None,
) -> Scene:
    now = context.now()
    return Scene(
        name,
        [_facts(wanted.key, candidate, name, now) for candidate in wanted.candidates],
        now,
        need,
        before=wanted.before,
        called=wanted.called,
        asked=dict(context.asked_agents.get(wanted.key, {})),
        participants=participants,
        again=again,
    )


def _facts(room: Key, candidate: Candidate, name: str, now: datetime) -> PoolFacts:
    """Return a pool as it is now: nothing may be awaited before what is decided by it is noted in its memory."""
    memory, policy = candidate.memory, candidate.reference.dispatch
    if memory is None:
        return PoolFacts(candidate.shown, candidate.agent_name, policy, usable=False, problem=candidate.problem)
    canary = memory.canary.deployment if memory.canary else None
    return PoolFacts(
        candidate.shown,
        candidate.agent_name,
        policy,
        place=memory.has_place(room),
        canary=canary,
        canary_weight=memory.canary_weight,
        canary_place=canary is not None and memory.has_place(room, canary),
        lost=frozenset(memory.lost),
        taken=memory.taken,
        ended=memory.ended_in(name),
        restart=candidate.reference.restart,
        tells=memory.tells,
        publishers=memory.publishers,
        pods=memory.staying,
        versions=memory.versions,
        looked_seconds=max(0.0, (now - memory.looked).total_seconds()) if memory.looked else 0.0,
        problem=candidate.problem,
        unserved=memory.problem,
        full_share=memory.namespace_of(room) if memory.share_is_reached(room) else None,
    )


def _counted(access: ServerAccess, view: RoomView, people: int) -> RoomView:
    """Return a room with the number of people seen in it, unless Redis has lost who is there."""
    if access.rooms.is_unlisted(view.name):
        return view
    counted = replace(view, participants=people)
    access.rooms.put(counted)
    return counted


async def _apply(context: Context, wanted: Wanted, access: ServerAccess, name: str, plan: AgentsPlan) -> None:
    """Remove agents of former pools, then remove, delete and create for each pool as planned."""
    by_pool = {candidate.shown: candidate for candidate in wanted.candidates}
    reserved = _reserve(context, wanted, name, plan)
    for candidate in wanted.candidates:
        if candidate.refused and (memory := context.pools.get(candidate.key)):
            memory.release(wanted.key)  # its places no longer matter to this room
    try:
        for dispatch_id in plan.drop_dispatches:
            await access.client.delete_dispatch(name, dispatch_id)
        for identity in plan.drop_participants:
            await access.client.remove_participant(name, identity)
        for agent in plan.agents:
            candidate = by_pool[agent.pool]
            if agent.part == "Decided":
                context.asked_agents.setdefault(wanted.key, {})[candidate.agent_name] = agent.asked
                await _remove(context, access, candidate, name, agent)
                reserved.pop(agent.pool, None)
                context.asked_agents[wanted.key][candidate.agent_name] = await _create(access, candidate, name, agent)
                _note(context, wanted.key, candidate, name, agent)
            elif agent.part != "Unknown" and candidate.memory is not None:
                candidate.memory.release(wanted.key)
                if asked := context.asked_agents.get(wanted.key, {}).get(candidate.agent_name):
                    context.asked_agents[wanted.key][candidate.agent_name] = asked.unneeded()
    finally:
        for pool, before in reserved.items():
            if memory := by_pool[pool].memory:
                memory.take_back(wanted.key, before)


def _reserve(context: Context, wanted: Wanted, name: str, plan: AgentsPlan) -> dict[str, Promise | None]:
    """Take the places of the agents that are to be asked for before any request: other rooms want one meanwhile.

    Returns pool -> the promise before. Each is to be taken back if the pool comes not to be asked.
    """
    creating = {agent.pool: agent.decision for agent in plan.agents if agent.decision.create}
    return {
        candidate.shown: candidate.memory.promise(wanted.key, name, decision.deployment, context.now())
        for candidate in wanted.candidates
        if (decision := creating.get(candidate.shown)) and candidate.memory is not None
    }


async def _remove(context: Context, access: ServerAccess, candidate: Candidate, name: str, agent: AgentPlan) -> None:
    """Remove dead agents and delete dispatches."""
    decision, memory = agent.decision, candidate.memory
    for identity in decision.remove:
        await access.client.remove_participant(name, identity)
        if memory is not None and identity.removeprefix("agent-") in memory.lost:
            context.metrics.of(PoolMetrics).lost.labels(*candidate.key).inc()
    for dispatch_id in decision.delete:
        await access.client.delete_dispatch(name, dispatch_id)


async def _create(access: ServerAccess, candidate: Candidate, name: str, agent: AgentPlan) -> AskedAgent:
    """Ask for the agent, if one is to be asked for; return how it was asked for."""
    if not agent.decision.create:
        return agent.asked
    given = candidate.reference
    attributes = tuple(sorted(given.attributes.items()))
    request = AgentRequest(candidate.agent_name, given.metadata or "", attributes, agent.decision.deployment)
    return replace(agent.asked, request=(await access.client.create_dispatch(name, request)).id)


def _note(context: Context, room: Key, candidate: Candidate, name: str, agent: AgentPlan) -> None:
    """Note in the pool's memory whether the room waits, or has its agent."""
    now, memory, decision = context.now(), candidate.memory, agent.decision
    if memory is None:
        return
    if decision.state == "Unavailable":
        if memory.wait(room, now):
            context.wake("VoiceAgentPool", candidate.key)
    elif decision.state == "Dispatched":
        memory.asked(room, again=decision.attempts > 1 or decision.overdue, now=now)
    elif decision.state in ("Waiting", "Finished", "Failed", "Failing", "Paused"):
        memory.release(room)
    if agent.asked.unconnected:
        memory.unconnected.setdefault(room, now)
    else:
        memory.unconnected.pop(room, None)
    if decision.state == "Joined":
        memory.has_joined(room, name, agent.joined)
