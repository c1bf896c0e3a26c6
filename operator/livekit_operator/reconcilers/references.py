"""References between resources: who may use whom, and what to say when it does not work."""

from collections.abc import Sequence
from typing import Any, TypeVar

from livekit_operator.api.common import ObjectRef, Resource
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.conditions import find, holds
from livekit_operator.constants import CONDITION_READY
from livekit_operator.engine.cache import Key, Manifest, key_of
from livekit_operator.errors import Blocked, ServerNotAllowed
from livekit_operator.reconcilers.context import Context, ServerAccess
from livekit_operator.reconcilers.understanding import NotUnderstood, parse

R = TypeVar("R", bound=Resource)

_MOST_WORDS = 300


def target(resource: Resource, reference: ObjectRef) -> Key:
    """Return the key a reference of this resource points to."""
    return reference.namespace or resource.metadata.namespace, reference.name


def is_ready(manifest_status: dict[str, Any]) -> bool:
    """Return whether a status says `Ready=True`."""
    return holds(manifest_status.get("conditions"), CONDITION_READY)


def find_server(context: Context, resource: Resource, reference: ObjectRef) -> LiveKitServer:
    """Return the LiveKitServer of a reference; raises Blocked naming it when it is missing or does not allow us.

    Of another namespace's server nobody learns whether it is there who may not use it.
    """
    key = target(resource, reference)
    manifest = context.resources["LiveKitServer"].get(key)
    foreign = key[0] != resource.metadata.namespace
    if manifest is None:
        missing = (
            f"LiveKitServer {_shown(resource, key)} does not exist: create it, or name another one in spec.serverRef."
        )
        raise (
            Blocked("ServerNotAllowed", _not_allowed(resource, key)) if foreign else Blocked("ServerNotFound", missing)
        )
    server = _understood(context, LiveKitServer, manifest)
    if not allows(server, resource):
        raise ServerNotAllowed("ServerNotAllowed", _not_allowed(resource, key))
    return server


def allows(server: LiveKitServer, resource: Resource) -> bool:
    """Return whether a server lets a room or a pool use it; a pool gets its API key."""
    pool = isinstance(resource, VoiceAgentPool)
    allowed = server.spec.allowed_pool_namespaces if pool else server.spec.allowed_namespaces
    return _is_allowed(resource.metadata.namespace, server.metadata.namespace, allowed)


def pool_allows(pool: VoiceAgentPool, room: Resource) -> bool:
    """Return whether a pool lets a room call its agents."""
    return _is_allowed(room.metadata.namespace, pool.metadata.namespace, pool.spec.allowed_namespaces)


def may_use(context: Context, pool: VoiceAgentPool) -> bool:
    """Return whether a pool may use the server it refers to, which then is there."""
    try:
        find_server(context, pool, pool.spec.server_ref)
    except Blocked:
        return False
    return True


def _is_allowed(namespace: str, home: str, allowed: Sequence[str]) -> bool:
    return namespace == home or namespace in allowed or "*" in allowed


def _not_allowed(resource: Resource, key: Key) -> str:
    namespace = resource.metadata.namespace
    users, field = ("rooms", "allowedNamespaces")
    if isinstance(resource, VoiceAgentPool):
        users, field = ("pools", "allowedPoolNamespaces")
    return (
        f"LiveKitServer {_shown(resource, key)} does not exist, or does not let {users} of namespace {namespace} use "
        f"it: whoever has the server adds {namespace} to its spec.{field}."
    )


def server_problem(resource: Resource, server: LiveKitServer) -> tuple[str, str] | None:
    """Return that a server is not ready and why, in its own words; None when it is ready.

    Others' namespaces get its reason alone: a message may name rooms.
    """
    ready = find(server.status.get("conditions"), CONDITION_READY)
    if ready.get("status") == "True":
        return None
    shown = _shown(resource, server.key)
    if not ready:
        return (
            "ServerNotReady",
            f"LiveKitServer {shown} has not been looked at yet: see the operator's log if that lasts.",
        )
    own = resource.metadata.namespace == server.metadata.namespace and ready["reason"] != "Deleting"
    words = f"{ready['reason']}: {ready['message'][:_MOST_WORDS]}" if own else f"{ready['reason']}. Ask whoever has it."
    return "ServerNotReady", f"LiveKitServer {shown} is not ready: {words}"


def find_access(context: Context, resource: Resource, server: LiveKitServer) -> ServerAccess | None:
    """Return the server's keys and client; raises Blocked when it has a problem, None when it was not looked at yet."""
    access = context.servers.get(server.key)
    if access is not None:
        return access
    problem = server_problem(resource, server)
    if problem is None:
        return None  # just after a start of the operator: its pass comes first and wakes us
    raise Blocked(*problem)


def find_pool(context: Context, resource: Resource, reference: ObjectRef) -> VoiceAgentPool | None:
    """Return the VoiceAgentPool of a reference, None when it does not exist."""
    return pool_at(context, target(resource, reference))


def pool_at(context: Context, key: Key) -> VoiceAgentPool | None:
    """Return the VoiceAgentPool of a key, None when it does not exist."""
    manifest = context.resources["VoiceAgentPool"].get(key)
    return _understood(context, VoiceAgentPool, manifest) if manifest else None


def _understood(context: Context, model: type[R], manifest: Manifest) -> R:
    """Return a resource parsed; raises Blocked when it is of another version than this operator."""
    ident = model.__name__, key_of(manifest)
    known = context.understood.get(ident)
    if known is not None and known[0] is manifest and isinstance(known[1], model):
        return known[1]
    try:
        parsed = parse(model, manifest)
    except NotUnderstood as problem:
        kind, name = model.__name__, manifest["metadata"]["name"]
        where = f" at {problem.path}" if problem.path else ""
        message = f"{kind} {name} is not understood{where}: {problem.why}. Correct it there."
        raise Blocked(f"{kind}NotUnderstood", message) from problem
    context.understood[ident] = manifest, parsed
    return parsed


def _shown(resource: Resource, key: Key) -> str:
    return key[1] if key[0] == resource.metadata.namespace else "/".join(key)
