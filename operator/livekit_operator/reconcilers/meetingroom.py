"""MeetingRoom: the room on its server, the token Secrets, the agents that serve it; and its end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from livekit_operator.api.meetingroom import MeetingRoom, Token
from livekit_operator.conditions import Observed, parse_timestamp, timestamp
from livekit_operator.constants import ROOM_FINALIZER
from livekit_operator.engine.cache import Key, Manifest, key_of
from livekit_operator.errors import Blocked, ServerNotAllowed, ServerRefused, ServerUnreachable
from livekit_operator.reconcilers import children, status
from livekit_operator.reconcilers.context import Context, ServerAccess
from livekit_operator.reconcilers.finalizers import add_finalizer, remove_finalizer
from livekit_operator.reconcilers.reconcile import reconcile
from livekit_operator.reconcilers.references import find_access, find_server, is_ready, target
from livekit_operator.reconcilers.room_agents import AgentObservation, ensure_agents
from livekit_operator.reconcilers.status import Outcome
from livekit_operator.resources import meetingroom as build
from livekit_operator.resources.meetingroom import ServerKeys
from livekit_operator.views import RoomSettings, RoomView

# A server that does not answer holds up the deletion of its rooms for this long at most.
DELETION_PATIENCE = timedelta(seconds=60)
_DELETION_RETRY_SECONDS = 2.0
_NAME_RETRY_SECONDS = 5.0
CONDITION_AGENTS = "AgentsReady"
CONDITION_SETTINGS = "SettingsApplied"


@dataclass(frozen=True)
class Observation:
    """The room as the server has it, its token Secrets and its agents."""

    room: RoomView
    secrets: Sequence[tuple[Token, Manifest]]
    agents: Sequence[AgentObservation]
    token_problem: Blocked | None = None


async def reconcile_room(context: Context, key: Key) -> float | None:
    """Reconcile one MeetingRoom."""
    if context.resources["MeetingRoom"].get(key) is None:
        context.asked_agents.pop(key, None)
    return await reconcile(context, MeetingRoom, key, _pass)


async def _pass(context: Context, room: MeetingRoom) -> Outcome | None:
    if room.metadata.deletion_timestamp:
        return await _finalize(context, room)
    try:
        server = find_server(context, room, room.spec.server_ref)
    except ServerNotAllowed:
        await children.remove_secrets(context, room)
        raise
    holder = _holder(context, room)
    if holder != room.key:
        message = f"MeetingRoom {'/'.join(holder)} has room {build.room_name(room)} already."
        raise Blocked("RoomNameTaken", message, retry_after=_NAME_RETRY_SECONDS)
    access = find_access(context, room, server)
    if access is None:
        return None
    if not access.rooms.listed or not access.keys.external_url:
        if is_ready(server.status):
            return None  # the server's first listing wakes us
        raise Blocked("ServerNotReady", f"LiveKitServer {room.spec.server_ref.name} is not ready.")
    await add_finalizer(context, room, ROOM_FINALIZER)
    observed = await apply(context, room, access)
    return decide(context, room, observed)


async def apply(context: Context, room: MeetingRoom, access: ServerAccess) -> Observation:
    """Make room, Secrets and dispatches as desired and return them."""
    view = await _ensure_room(access, build.room_settings(room))
    secrets, problem = await _ensure_secrets(context, room, access.keys)
    view, agents = await ensure_agents(context, room, access, view)
    return Observation(view, secrets, agents, problem)


def decide(context: Context, room: MeetingRoom, observed: Observation) -> Outcome:
    """Return the status of what was observed."""
    fields: dict[str, Any] = {
        "roomName": observed.room.name,
        "sid": observed.room.sid,
        "participants": observed.room.participants,
        "tokens": [
            {
                "identity": token.identity,
                "secretName": secret["metadata"]["name"],
                "expiresAt": timestamp(build.expiry(secret)),
            }
            for token, secret in observed.secrets
        ],
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
    now = context.now()
    looks = [(build.renewal_time(build.expiry(s), token) - now).total_seconds() for token, s in observed.secrets]
    looks += [agent.decision.again for agent in observed.agents if agent.decision.again is not None]
    if observed.token_problem and observed.token_problem.retry_after:
        looks.append(observed.token_problem.retry_after)
    return Outcome(_conditions(room, observed), fields, max(0.1, min(looks)) if looks else None)


def _conditions(room: MeetingRoom, observed: Observation) -> list[Observed]:
    agent_problem = next((agent.problem for agent in observed.agents if agent.problem), None)
    blocked = observed.token_problem
    problem = (blocked.reason, blocked.message) if blocked else agent_problem
    ready = Observed.not_ready(*problem) if problem else Observed.ready(f"Room {observed.room.name} is open.")
    conditions = [ready]
    if room.spec.agents:
        agents = agent_problem or ("PoolsReady", "Every pool has agents for this room.")
        conditions.append(Observed(CONDITION_AGENTS, agent_problem is None, *agents))
    if _unapplied(observed.room.settings, build.room_settings(room)):
        message = "The server cannot change a room in use; it is made anew when everybody has left."
        conditions.append(Observed(CONDITION_SETTINGS, False, "PendingRecreate", message))
    return conditions


async def _ensure_room(access: ServerAccess, settings: RoomSettings) -> RoomView:
    """Return the room, made when the server has none, and anew when an empty one has other settings."""
    view = None if settings.name in access.rooms.doubtful else access.rooms.get(settings.name)
    outdated = view is not None and _unapplied(view.settings, settings) and view.participants == 0
    # An agent that waits in an empty room does not keep it: it is called again into the new one.
    if outdated and all(p.agent_name is not None for p in await access.client.list_participants(settings.name)):
        await access.client.delete_room(settings.name)
        view = None
    if view is None:
        view = await access.client.create_room(settings)
    if view.settings.metadata != settings.metadata:
        await access.client.update_metadata(settings.name, settings.metadata)
        view = replace(view, settings=replace(view.settings, metadata=settings.metadata))
    access.rooms.put(view)
    return view


def _unapplied(actual: RoomSettings, wanted: RoomSettings) -> bool:
    """Return whether settings differ that the server cannot change on a live room (roommanager.go getOrCreateRoom)."""
    return replace(actual, metadata="") != replace(wanted, metadata="")


def _holder(context: Context, room: MeetingRoom) -> Key:
    """Return the oldest of the MeetingRooms of this room on the server: two with other settings would take turns."""
    keys = context.users.of_room(target(room, room.spec.server_ref), build.room_name(room))
    known = [manifest for key in keys if (manifest := context.resources["MeetingRoom"].get(key))]
    created = {key_of(manifest): manifest["metadata"].get("creationTimestamp") or "" for manifest in known}
    created.setdefault(room.key, room.metadata.creation_timestamp or "")
    return min(created, key=lambda key: (created[key], key))


async def _ensure_secrets(
    context: Context, room: MeetingRoom, keys: ServerKeys
) -> tuple[list[tuple[Token, Manifest]], Blocked | None]:
    """Return the token Secret of each identity, and the first problem; delete those of identities that are gone.

    One identity's problem must not cost the others their renewal, nor the room its agents.
    """
    found, problems = [], []
    names = Counter(build.secret_name(room, token) for token in room.spec.tokens)
    for token in room.spec.tokens:
        name = build.secret_name(room, token)
        if names[name] > 1:
            message = f"More than one identity wants the Secret {name}: give them other names by secretName."
            problems.append(Blocked("SecretNameTaken", message))
            continue
        try:
            found.append((token, await _ensure_secret(context, room, token, keys)))
        except Blocked as blocked:
            problems.append(blocked)
    for secret in context.children["Secret"].owned_by(room.metadata.uid):
        if secret["metadata"]["name"] not in names:
            await children.remove(context, "Secret", secret)
    return found, problems[0] if problems else None


async def _ensure_secret(context: Context, room: MeetingRoom, token: Token, keys: ServerKeys) -> Manifest:
    known = context.children["Secret"].get((room.metadata.namespace, build.secret_name(room, token)))
    if known is not None and not build.token_is_due(known, room, token, keys, context.now()):
        return await children.ensure(context, room, build.keep_token_secret(room, token, keys, known))
    return await children.ensure(context, room, build.build_token_secret(room, token, keys, now=context.now()))


async def _finalize(context: Context, room: MeetingRoom) -> Outcome | None:
    """Delete the room on the server, then let the resource go; Kubernetes deletes its Secrets."""
    if ROOM_FINALIZER not in room.metadata.finalizers:
        return None
    server = context.resources["LiveKitServer"].get(target(room, room.spec.server_ref))
    if server is not None and (problem := await _delete_room(context, room)):
        deleted_at = parse_timestamp(room.metadata.deletion_timestamp or "")
        if "deletionTimestamp" not in server["metadata"] and context.now() - deleted_at < DELETION_PATIENCE:
            return Outcome([Observed.not_ready("Deleting", problem)], None, _DELETION_RETRY_SECONDS)
        await status.emit(context, room, "Warning", "RoomNotDeleted", f"Let go without the server: {problem}")
    await remove_finalizer(context, room, ROOM_FINALIZER)
    return None


async def _delete_room(context: Context, room: MeetingRoom) -> str | None:
    """Delete the room on its server; return why that is not possible now."""
    if _holder(context, room) != room.key:
        return None  # another resource's room
    access = context.servers.get(target(room, room.spec.server_ref))
    if access is None:
        return "The LiveKit server is not ready."
    try:
        await access.client.delete_room(build.room_name(room))
    except (ServerUnreachable, ServerRefused) as error:
        return f"The LiveKit server does not delete the room: {error}."
    access.rooms.remove(build.room_name(room))
    return None
