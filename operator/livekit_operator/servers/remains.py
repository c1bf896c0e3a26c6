"""What is left of a LiveKitServer whose namespace is being deleted: its servers drain, and none may be created."""

from livekit_operator.api.livekitserver import LiveKitServer, LiveKitServerStatus
from livekit_operator.reconciling.status import joined
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.plan import Plan
from livekit_operator.servers.keys import key_to_ask_with
from livekit_operator.servers.prepare import adopt_replicas
from livekit_operator.servers.replicas import observe_replicas, remember_replicas
from livekit_operator.servers.status import describe


async def count_remains(context: Context, server: LiveKitServer) -> LiveKitServerStatus:
    """Return the fields of the status that count servers; rooms and participants of None go with the last one."""
    await adopt_replicas(context, server)
    replicas = await observe_replicas(context, server, None, await key_to_ask_with(context, server))
    await remember_replicas(context, server, replicas)
    staying = [view for view in replicas.views if not view.leaving and not view.finished]
    serving = sum(view.up and view.serving for view in staying)
    fields = LiveKitServerStatus(
        servers=[describe(item, Plan()) for item in replicas.every],
        replicas=len(staying),
        ready_replicas=serving,
        updated_replicas=min(serving, server.last.updated_replicas or 0),
        draining_replicas=sum(view.leaving for view in replicas.views),
    )
    return fields if replicas.every else joined(fields, LiveKitServerStatus(rooms=None, participants=None))
