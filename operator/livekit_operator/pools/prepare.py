"""What must be there before anything of a pool can be observed: its server's keys, and what a former pool left."""

from collections.abc import Mapping
from dataclasses import dataclass

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.manifests.metadata import COMPONENT_AGENT
from livekit_operator.pools.context import Context
from livekit_operator.pools.manifests.pod import is_pod_name
from livekit_operator.pools.manifests.versions import PoolVersion
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.versions import known_versions
from livekit_operator.reconciling import children
from livekit_operator.reconciling.ownership import adopt_pods, identity, is_owned, relabel
from livekit_operator.servers.access import find_credentials, find_server
from livekit_operator.servers.memory import Credentials


@dataclass(frozen=True)
class Prepared:
    """A pool's server, its keys and URLs, and the versions that are the pool's own now."""

    server: LiveKitServer
    credentials: Credentials
    known: Mapping[str, PoolVersion]
    """Revision -> version."""


async def prepare(context: Context, pool: VoiceAgentPool, memory: PoolMemory) -> Prepared | None:
    """Take over what is the pool's; return None while the server's keys are to come, which wake the pool.

    Raises Blocked when the server cannot be used, ServerNotAllowed when the pool may not.
    """
    server = find_server(context, pool, pool.spec.server_ref)
    credentials = find_credentials(context, pool, server)
    if credentials is None:
        return None
    await adopt_pods(context, pool, COMPONENT_AGENT, lambda pod: is_pod_name(pool, pod))
    await restore_labels(context, pool, memory)
    return Prepared(server, credentials, await known_versions(context, pool, memory))


async def restore_labels(context: Context, pool: VoiceAgentPool, memory: PoolMemory) -> None:
    """Restore the labels of pods that vanished without terminating: the watch does not show pods without them."""
    there = {pod["metadata"]["uid"] for pod in context.children["Pod"].owned_by(identity(pool))}
    for uid, seen in memory.pods.items():
        if uid in there or seen.leaving:
            continue
        found = await children.find(context, "Pod", pool.metadata.namespace, seen.name)
        if found is not None and found["metadata"]["uid"] == uid and is_owned(pool, found):
            await relabel(context, pool, COMPONENT_AGENT, found)
