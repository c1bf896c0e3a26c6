"""A server as pools and rooms use it: whether they may, and what they get of it."""

from livekit_operator import reasons
from livekit_operator.api.common import ObjectRef, Resource
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.conditions import find
from livekit_operator.constants import CONDITION_READY
from livekit_operator.engine.cache import Key
from livekit_operator.errors import Blocked, Problem, ServerNotAllowed
from livekit_operator.reconciling.references import is_allowed, target, understood
from livekit_operator.servers.context import Context
from livekit_operator.servers.memory import ServerAccess

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
    ready = find(server.status.get("conditions"), CONDITION_READY)
    if ready.get("status") == "True":
        return None
    shown = _shown(resource, server.key)
    if not ready:
        return Problem(
            reasons.SERVER_NOT_READY,
            f"LiveKitServer {shown} has not been looked at yet: see the operator's log if that lasts.",
        )
    own = resource.metadata.namespace == server.metadata.namespace and ready["reason"] != reasons.DELETING
    words = f"{ready['reason']}: {ready['message'][:_MOST_WORDS]}" if own else f"{ready['reason']}. Ask whoever has it."
    return Problem(reasons.SERVER_NOT_READY, f"LiveKitServer {shown} is not ready: {words}")


def find_access(context: Context, resource: Resource, server: LiveKitServer) -> ServerAccess | None:
    """Return the server's keys and client; raises Blocked when it has a problem, None before its first pass."""
    access = context.servers.get(server.key)
    if access is not None:
        return access
    problem = server_problem(resource, server)
    if problem is None:
        return None  # just after a start of the operator: its pass comes first and wakes us
    raise Blocked(problem)


def _shown(resource: Resource, key: Key) -> str:
    return key[1] if key[0] == resource.metadata.namespace else "/".join(key)
