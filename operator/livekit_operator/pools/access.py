"""A pool as rooms use it: whether it exists, and whether they may use it."""

from livekit_operator.api.common import ObjectRef, Resource
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.engine.cache import Key
from livekit_operator.pools.context import Context
from livekit_operator.reconciling.references import is_allowed, target, understood


def pool_allows(pool: VoiceAgentPool, room: Resource) -> bool:
    """Return whether a room may ask for a pool's agents."""
    return is_allowed(room.metadata.namespace, pool.metadata.namespace, pool.spec.allowed_namespaces)


def find_pool(context: Context, resource: Resource, reference: ObjectRef) -> VoiceAgentPool | None:
    """Return the VoiceAgentPool of a reference, None when it does not exist."""
    return pool_at(context, target(resource, reference))


def pool_at(context: Context, key: Key) -> VoiceAgentPool | None:
    """Return the VoiceAgentPool of a key, None when it does not exist."""
    manifest = context.resources["VoiceAgentPool"].get(key)
    return understood(context, VoiceAgentPool, manifest) if manifest else None
