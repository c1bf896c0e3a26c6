"""References between resources: who may use whom, and what to say when it does not work."""

from typing import Any, TypeVar

from livekit_operator.api.common import ObjectRef, Resource
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.conditions import holds
from livekit_operator.constants import CONDITION_READY
from livekit_operator.engine.cache import Key, Manifest, key_of
from livekit_operator.errors import Blocked, ServerNotAllowed
from livekit_operator.reconcilers.context import Context, ServerAccess
from livekit_operator.reconcilers.understanding import NotUnderstood, parse

R = TypeVar("R", bound=Resource)


def target(resource: Resource, reference: ObjectRef) -> Key:
    """Return the key a reference of this resource points to."""
    return reference.namespace or resource.metadata.namespace, reference.name


def is_ready(manifest_status: dict[str, Any]) -> bool:
    """Return whether a status says `Ready=True`."""
    return holds(manifest_status.get("conditions"), CONDITION_READY)


def find_server(context: Context, resource: Resource, reference: ObjectRef) -> LiveKitServer:
    """Return the LiveKitServer of a reference; raises Blocked naming it when it is missing or does not allow us."""
    key = target(resource, reference)
    manifest = context.resources["LiveKitServer"].get(key)
    if manifest is None:
        raise Blocked("ServerNotFound", f"LiveKitServer {_shown(resource, key)} does not exist.")
    server = _understood(context, LiveKitServer, manifest)
    allowed = server.spec.allowed_namespaces
    namespace = resource.metadata.namespace
    if key[0] != namespace and namespace not in allowed and "*" not in allowed:
        raise ServerNotAllowed(
            "ServerNotAllowed",
            f"LiveKitServer {_shown(resource, key)} does not allow namespace {namespace}: "
            f"add it to its spec.allowedNamespaces.",
        )
    return server


def find_access(context: Context, resource: Resource, server: LiveKitServer) -> ServerAccess | None:
    """Return the server's keys and client; raises Blocked when it has a problem, None when it was not looked at yet."""
    access = context.servers.get(server.key)
    if access is not None:
        return access
    if is_ready(server.status):
        return None  # just after a start of the operator: its pass comes first and wakes us
    raise Blocked("ServerNotReady", f"LiveKitServer {_shown(resource, server.key)} is not ready.")


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
        raise Blocked(f"{kind}NotUnderstood", f"{kind} {name} is not understood{where}: {problem.why}.") from problem
    context.understood[ident] = manifest, parsed
    return parsed


def _shown(resource: Resource, key: Key) -> str:
    return key[1] if key[0] == resource.metadata.namespace else "/".join(key)
