"""LiveKitServer: one pass, from keys, configuration and Services to its servers."""

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.engine.cache import Key
from livekit_operator.errors import NamespaceTerminating
from livekit_operator.reconciling.frame import reconcile
from livekit_operator.reconciling.status import Outcome, terminating
from livekit_operator.servers.apply import apply
from livekit_operator.servers.context import Context
from livekit_operator.servers.decide import decide
from livekit_operator.servers.finalize import finalize
from livekit_operator.servers.observe import observe
from livekit_operator.servers.prepare import prepare
from livekit_operator.servers.remains import count_remains
from livekit_operator.servers.replicas import remember_replicas
from livekit_operator.servers.status import status


async def reconcile_server(context: Context, key: Key) -> float | None:
    """Reconcile one LiveKitServer."""
    return await reconcile(context, LiveKitServer, key, _pass)


async def _pass(context: Context, server: LiveKitServer) -> Outcome | None:
    if server.metadata.deletion_timestamp:
        return await finalize(context, server)
    try:
        prepared = await prepare(context, server)
        observed = await observe(context, server, prepared)
        await remember_replicas(context, server, observed.replicas)
        plan = decide(server, observed)
        done = await apply(context, server, observed, plan)
    except NamespaceTerminating:
        return terminating(server, await count_remains(context, server))
    return status(server, observed, plan, done)
