"""A server as pools and rooms use it: whether they may, and what they get of it."""

from dataclasses import replace

from livekit_operator import reasons
from livekit_operator.api.common import ObjectRef, Resource
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.constants import CONDITION_READY
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked, Problem, ServerNotAllowed
from livekit_operator.reconciling.references import is_allowed, target, understood
from livekit_operator.servers.context import Context
from livekit_operator.servers.credentials import credentials_of
from livekit_operator.servers.memory import Credentials, ServerAccess
from livekit_operator.servers.room_listing import RoomListing

_MOST_WORDS = 300


def find_server(context: Context, resource: Resource, reference: ObjectRef) -> LiveKitServer:
    """Return the LiveKitServer of a reference; raises Blocked naming it when it is missing or does not allow us.

    Whoever may not use another namespace's server does not learn whether it exists.
    """
    key = target(resource, reference)
    manifest = context.resources["LiveKitServer"].get(key)
    if manifest is None and key[0] != resource.metadata.namespace:
        raise Blocked(Problem(reasons.SERVER_NOT_ALLOWED, _not_allowed(resource, key)))
    if manifest is None:
        message = (
            f"LiveKitServer {_shown(resource, key)} does not exist: create it, or name another one in spec.serverRef."
        )
        raise Blocked(Problem(reasons.SERVER_NOT_FOUND, message))
    server = understood(context, LiveKitServer, manifest)
    if not allows(server, resource):
        raise ServerNotAllowed(Problem(reasons.SERVER_NOT_ALLOWED, _not_allowed(resource, key)))
    return server


def allows(server: LiveKitServer, resource: Resource) -> bool:
    """Return whether a server lets a room or a pool use it; a pool gets its API key."""
    pool = isinstance(resource, VoiceAgentPool)
    allowed = server.spec.allowed_pool_namespaces if pool else server.spec.allowed_namespaces
    return is_allowed(resource.metadata.namespace, server.metadata.namespace, allowed)


def may_use(context: Context, pool: VoiceAgentPool) -> bool:
    """Return whether a pool may use the server it refers to, which then is there."""
    try:
        find_server(context, pool, pool.spec.server_ref)
    except Blocked:
        return False
    return True


def _not_allowed(resource: Resource, key: Key) -> str:
    namespace = resource.metadata.namespace
    users, field = ("rooms", "allowedNamespaces")
    if isinstance(resource, VoiceAgentPool):
        users, field = ("pools", "allowedPoolNamespaces")
    return (
        f"LiveKitServer {_shown(resource, key)} does not exist, or does not let {users} of namespace {namespace} use "
        f"it: whoever has the server adds {namespace} to its spec.{field}."
    )


def server_problem(resource: Resource, server: LiveKitServer) -> Problem | None:
    """Return that a server is not ready and why, in its own words; None when it is ready.

    Others' namespaces get its reason alone: a message may name rooms.
    """
    ready = server.last.condition(CONDITION_READY)
    if ready is not None and ready.status == "True":
        return None
    shown = _shown(resource, server.key)
    if not ready:
        return Problem(
            reasons.SERVER_NOT_READY,
            f"LiveKitServer {shown} has not been reconciled yet: see the operator's log if that lasts.",
        )
    own = resource.metadata.namespace == server.metadata.namespace and ready.reason != reasons.DELETING
    words = f"{ready.reason}: {ready.message[:_MOST_WORDS]}" if own else f"{ready.reason}. Ask whoever has it."
    return Problem(reasons.SERVER_NOT_READY, f"LiveKitServer {shown} is not ready: {words}")


def find_credentials(context: Context, resource: Resource, server: LiveKitServer) -> Credentials | None:
    """Return the server's keys and URLs; raises Blocked when it has a problem instead, None when they are to come.

    It has keys before it has a Service, without which agents would start for nothing.
    """
    known = credentials_of(context, server.key)
    if known is None or not _was_made(context, server):
        _require_no_problem(resource, server)
        return None
    return known


def _was_made(context: Context, server: LiveKitServer) -> bool:
    """Return whether a pass, here or before, came so far that the server can be reached."""
    return server.key in context.servers or bool(server.last.external_url)


def find_access(context: Context, resource: Resource, server: LiveKitServer) -> ServerAccess | None:
    """Return the server's keys, client and rooms; raises Blocked when it has a problem, None before its first pass."""
    access = access_at(context, server.key)
    if access is None:
        _require_no_problem(resource, server)
    return access


def access_at(context: Context, server: Key) -> ServerAccess | None:
    """Return the keys, client and rooms of a server, None before its first pass here."""
    connection, known = context.servers.get(server), credentials_of(context, server)
    if connection is None or known is None:
        return None
    keys = known.keys
    if keys.external_url != connection.external_url:
        # The status may be of anybody who may write it, and guests go to this URL with their tokens.
        keys = replace(keys, external_url=connection.external_url)
    return ServerAccess(
        connection.client, keys, known.accepted, connection.rooms, known.claims_since, connection.shared
    )


def rooms_of(context: Context, server: Key) -> RoomListing:
    """Return the listing of a server's rooms, an empty one before its first pass here."""
    connection = context.servers.get(server)
    return connection.rooms if connection else RoomListing()


def _require_no_problem(resource: Resource, server: LiveKitServer) -> None:
    """Raise Blocked when a server has a problem; one without is about to have its first pass, which wakes its users."""
    if problem := server_problem(resource, server):
        raise Blocked(problem)


def _shown(resource: Resource, key: Key) -> str:
    return key[1] if key[0] == resource.metadata.namespace else "/".join(key)
