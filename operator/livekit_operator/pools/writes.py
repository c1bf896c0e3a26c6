"""Writes of a pool's passes, as far as the API server accepts them: a refusal is reported, and retried later."""

from functools import partial

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.engine.cache import Manifest
from livekit_operator.manifests.metadata import digest
from livekit_operator.pools.context import Context
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.reconciling import children


async def remove(context: Context, memory: PoolMemory, kind: str, manifest: Manifest) -> None:
    """Delete a child, if that is accepted."""
    what = f"the deletion of {kind} {manifest['metadata']['name']}"
    await memory.refusals.attempt(what, "", lambda: children.remove(context, kind, manifest), context.now())


async def ensure(context: Context, pool: VoiceAgentPool, memory: PoolMemory, desired: Manifest) -> bool:
    """Make a child as desired; return whether it is so now."""
    what = f"{desired['kind']} {desired['metadata']['name']}"
    write = partial(children.ensure, context, pool, desired)
    return await memory.refusals.attempt(what, digest(desired), write, context.now())
