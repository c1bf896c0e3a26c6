"""MeetingRoom: the room on its server, the token Secrets, the agents that serve it; and its end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.conditions import Observed, parse_timestamp, timestamp
from livekit_operator.constants import ANNOTATION_RECREATE, CONDITION_AGENTS_READY, ROOM_FINALIZER
from livekit_operator.engine.cache import Key, key_of
from livekit_operator.errors import Blocked, RoomUnanswered, ServerNotAllowed, ServerRefused, ServerUnreachable
from livekit_operator.outside import said
from livekit_operator.reconcilers import children, room_lifecycle, status
from livekit_operator.reconcilers.context import Context, ServerAccess, Tokens
from livekit_operator.reconcilers.finalizers import remove_finalizer
from livekit_operator.reconcilers.ownership import is_orphaning
from livekit_operator.reconcilers.reconcile import reconcile
from livekit_operator.reconcilers.references import find_access, find_server, server_problem, target
from livekit_operator.reconcilers.room_agents import AgentObservation, agent_names, ensure_agents
from livekit_operator.reconcilers.room_kinds import Problem, effective_agents, with_agents
from livekit_operator.reconcilers.room_lifecycle import OpenRoom, Overheard
from livekit_operator.reconcilers.room_tokens import ensure_tokens
from livekit_operator.reconcilers.status import Outcome
from livekit_operator.resources import meetingroom as build
from livekit_operator.resources.meetingroom import Limits

# A server that does not answer holds up the deletion of its rooms for this long at most.
DELETION_PATIENCE = timedelta(seconds=60)
_DELETION_RETRY_SECONDS = 2.0
_NAME_RETRY_SECONDS = 5.0
_EMPTIED_SECONDS = 1.0
# How long a room that was deleted, by whomever, is still listed though nobody answers for it, at the most.
_ROOM_PATIENCE = timedelta(seconds=15)
_ROOM_RETRY_SECONDS = 1.0
_MOST_IDENTITIES = 20
_MAY_BE_LEFT = "The room may still be there: delete it by DeleteRoom, or `lk room delete`."
CONDITION_SETTINGS = "SettingsApplied"


@dataclass(frozen=True)
class Observation:
    """The room as the server has it, its token Secrets, its agents, and who is in it."""

    room: OpenRoom
    tokens: Tokens
    agents: Sequence[AgentObservation]
    room_problem: Problem | None
    agents_problem: Problem | None
    people: Sequence[str]
    server_problem: Problem | None
    """Why the server is not ready, though it lists its rooms."""


async def reconcile_room(context: Context, key: Key) -> float | None:
    """Reconcile one MeetingRoom."""
    if context.resources["MeetingRoom"].get(key) is None:
        context.asked_agents.pop(key, None)
        context.kept_tokens.pop(key, None)
        context.unanswered.pop(key, None)
        context.claims.pop(key, None)
    return await reconcile(context, MeetingRoom, key, _pass)


async def _pass(context: Context, room: MeetingRoom) -> Outcome | None:
    if room.metadata.deletion_timestamp:
        return await _finalize(context, room)
    if why := room_lifecycle.expired(room, context.now()):
        await room_lifecycle.end(context, room, why)
        return None
    since = context.unanswered.pop(room.key, None)
    try:
        return await _keep(context, room)
    except RoomUnanswered as error:
        context.unanswered[room.key] = since or context.now()
        return _unanswered(context, room, error)
    except Blocked as blocked:
        if room.spec.expires_at:
            # It ends in time whatever keeps it from being opened.
            left = (parse_timestamp(room.spec.expires_at) - context.now()).total_seconds()
            blocked.retry_after = left if blocked.retry_after is None else min(left, blocked.retry_after)
        raise


def _unanswered(context: Context, room: MeetingRoom, error: RoomUnanswered) -> Outcome:
    """Return that nothing is said for a while: a room that ends is still listed when nobody answers for it."""
    if context.now() - context.unanswered[room.key] < _ROOM_PATIENCE:
        return Outcome((), None, _ROOM_RETRY_SECONDS, silent=True)
    message = (
        f"The server answers, but none of its nodes does for room {build.room_name(room)}: {error}. Make the room anew "
        f"by another value of the annotation {ANNOTATION_RECREATE} if it stays so."
    )
    return status.halted(room, "RoomUnanswered", message, again=_NAME_RETRY_SECONDS)


async def _keep(context: Context, room: MeetingRoom) -> Outcome | None:
    try:
        server = find_server(context, room, room.spec.server_ref)
    except ServerNotAllowed:
        await children.remove_secrets(context, room)
        for memory in context.pools.values():
            memory.served(room.key)  # its agents are nobody's concern any more
        raise
    holder = _holder(context, room)
    if holder != room.key:
        message = (
            f"MeetingRoom {'/'.join(holder)} has room {build.room_name(room)} already: choose another roomName, or "
            f"delete that one."
        )
        raise Blocked("NameConflict", message, retry_after=_NAME_RETRY_SECONDS)
    access = find_access(context, room, server)
    if access is None:
        return None
    if not access.rooms.listed or not access.keys.external_url:
        problem = server_problem(room, server)
        if problem is None:
            return None  # the server's first listing wakes us
        raise Blocked(*problem)
    claimed = room_lifecycle.is_claimed(context, room, access)
    if claimed and (why := await room_lifecycle.ended(room, access, context.now())):
        await room_lifecycle.end(context, room, why)
        return None
    return decide(context, room, await apply(context, room, server, access, claimed=claimed))


async def apply(
    context: Context, room: MeetingRoom, server: LiveKitServer, access: ServerAccess, *, claimed: bool
) -> Observation:
    """Make room, Secrets and dispatches as desired and return them."""
    listed = access.rooms.get(build.room_name(room))
    room_lifecycle.check_foreign(room, listed, claimed=claimed)
    names = agent_names(context, room, server)
    if (problem := build.refusal(room, server, names)) and not (claimed and listed):
        raise Blocked(*problem)
    await room_lifecycle.claim(context, room, access, claimed=claimed)
    heard = Overheard(access.client)
    access = replace(access, client=heard.client)
    # A room that is there goes on as it is, with its calls and tokens, when it is to be what the server refuses.
    opened = room_lifecycle.opened_room(room, listed) if listed and problem else None
    try:
        opened = opened or await room_lifecycle.ensure_room(room, access, claimed=claimed)
    except Blocked as blocked:
        if blocked.reason == room_lifecycle.ROOM_EXISTS:
            await room_lifecycle.unclaim(context, room)
        raise
    # Not before there is the room: who comes as soon as there is a token would make it, and be taken for a stranger.
    tokens = await ensure_tokens(context, room, access, Limits.of(server), names, new=not claimed)
    effective, agents_problem = effective_agents(context, room)
    view, agents = await ensure_agents(context, with_agents(room, effective), access, opened.view)
    people = sorted(p.identity for p in heard.participants if p.agent_name is None) if view.participants else []
    # It may list rooms and not be ready: nobody can come in, or Redis takes nothing.
    unready = server_problem(room, server)
    return Observation(replace(opened, view=view), tokens, agents, problem, agents_problem, people, unready)


def decide(context: Context, room: MeetingRoom, observed: Observation) -> Outcome:
    """Return the status of what was observed."""
    view, now = observed.room.view, context.now()
    empty_since = _empty_since(room, observed.room, timestamp(now))
    fields: dict[str, Any] = {
        "roomName": view.name,
        "sid": view.sid,
        "settingsHash": observed.room.made_with,
        "participants": view.participants,
        "participantIdentities": [said(identity) for identity in observed.people[:_MOST_IDENTITIES]],
        "emptySince": empty_since,
        "lastHandledRecreate": room_lifecycle.recreate_asked(room),
        "tokens": observed.tokens.shown,
        "agents": [
            {
                "pool": agent.pool,
                "agentName": agent.agent_name,
                "state": agent.decision.state,
                **({"activity": agent.activity} if agent.activity else {}),
            }
            for agent in observed.agents
        ],
        "agentsJoined": sum(agent.decision.state == "Joined" for agent in observed.agents),
    }
    moments = (observed.tokens.due, room_lifecycle.ends_at(room, empty_since))
    looks = [(moment - now).total_seconds() for moment in moments if moment]
    looks += [agent.decision.again for agent in observed.agents if agent.decision.again is not None]
    if observed.tokens.problem and observed.tokens.problem.retry_after:
        looks.append(observed.tokens.problem.retry_after)
    outdated = observed.room.differs(build.room_settings(room))
    if outdated and not view.participants and not observed.room_problem:
        # The last one left while this pass was on its way: the next listing tells nothing new.
        looks.append(_EMPTIED_SECONDS)
    return Outcome(_conditions(observed, outdated=outdated), fields, max(0.1, min(looks)) if looks else None)


def _empty_since(room: MeetingRoom, opened: OpenRoom, now: str) -> str | None:
    """Return since when nobody is in the room, where that matters."""
    if room.spec.ttl_seconds_after_empty is None or opened.view.participants:
        return None
    same = opened.view.sid == room.status.get("sid")
    return (room.status.get("emptySince") if same else None) or now


def _conditions(observed: Observation, *, outdated: bool) -> list[Observed]:
    agent_problem = next((agent.problem for agent in observed.agents if agent.problem), observed.agents_problem)
    blocked = observed.tokens.problem
    told = (blocked.reason, blocked.message) if blocked else None
    problem = observed.room_problem or told or observed.server_problem or agent_problem
    is_open = f"Room {observed.room.view.name} is open. {observed.tokens.note or ''}".strip()
    ready = Observed.not_ready(*problem) if problem else Observed.ready(is_open)
    conditions = [ready]
    if observed.agents or observed.agents_problem:
        joined = all(agent.decision.state == "Joined" for agent in observed.agents)
        message = "Every agent is in the room." if joined else "Agents come to this room when it needs them."
        agents = agent_problem or ("PoolsReady", message)
        conditions.append(Observed(CONDITION_AGENTS_READY, agent_problem is None, *agents))
    if outdated:
        message = (
            "The server cannot change a room in use; it is made anew when everybody has left. To have it now, give the "
            f"annotation {ANNOTATION_RECREATE} another value."
        )
        conditions.append(Observed(CONDITION_SETTINGS, False, "PendingRecreate", message))
    return conditions


def _holder(context: Context, room: MeetingRoom, *, everywhere: bool = False) -> Key:
    """Return the oldest of the namespace's MeetingRooms of this room on the server, or of all with `everywhere`.

    Two with other settings would take turns.
    """
    keys = context.users.of_room(target(room, room.spec.server_ref), build.room_name(room))
    if not everywhere:
        keys = [key for key in keys if key[0] == room.metadata.namespace]
    known = [manifest for key in keys if (manifest := context.resources["MeetingRoom"].get(key))]
    created = {key_of(manifest): manifest["metadata"].get("creationTimestamp") or "" for manifest in known}
    created.setdefault(room.key, room.metadata.creation_timestamp or "")
    return min(created, key=lambda key: (created[key], key))


async def _finalize(context: Context, room: MeetingRoom) -> Outcome | None:
    """Delete the room on the server, then let the resource go; Kubernetes deletes its Secrets.

    With `--cascade=orphan` the room stays, with who is in it.
    """
    if ROOM_FINALIZER not in room.metadata.finalizers:
        return None
    if is_orphaning(context, room):
        await remove_finalizer(context, room, ROOM_FINALIZER)
        return None
    server = context.resources["LiveKitServer"].get(target(room, room.spec.server_ref))
    if server is not None and (problem := await _delete_room(context, room)):
        deleted_at = parse_timestamp(room.metadata.deletion_timestamp or "")
        if "deletionTimestamp" not in server["metadata"] and context.now() - deleted_at < DELETION_PATIENCE:
            return status.halted(room, "Deleting", problem, again=_DELETION_RETRY_SECONDS)
        await status.emit(
            context, room, "Warning", "RoomNotDeleted", f"Let go without the server: {problem} {_MAY_BE_LEFT}"
        )
    await remove_finalizer(context, room, ROOM_FINALIZER)
    return None


async def _delete_room(context: Context, room: MeetingRoom) -> str | None:
    """Delete the room on its server; return why that is not possible now."""
    if _holder(context, room, everywhere=True) != room.key:
        return None  # another resource's room
    access = context.servers.get(target(room, room.spec.server_ref))
    if access is None:
        return "The LiveKit server is not ready."
    if not room_lifecycle.is_claimed(context, room, access):
        return None  # somebody's who uses no resource
    if not access.rooms.listed:
        # Each of its rooms would wait for the answer, and hold up those of other servers.
        return "The LiveKit server does not answer."
    try:
        await access.client.delete_room(build.room_name(room))
    except (ServerUnreachable, ServerRefused) as error:
        if not isinstance(error, RoomUnanswered) or access.rooms.get(build.room_name(room)) is not None:
            return f"The LiveKit server does not delete the room: {error}."
        # It is on no list, and nobody answers for it: it is gone.
    access.rooms.remove(build.room_name(room))
    return None
