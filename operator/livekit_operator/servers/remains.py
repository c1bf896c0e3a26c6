"""What is left of a LiveKitServer whose namespace is being deleted: its servers drain, and none may be created."""

from livekit_operator.api.livekitserver import LiveKitServer, LiveKitServerStatus
from livekit_operator.reconciling.status import joined
from livekit_operator.servers import observe, status
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.rollout import Plan
from livekit_operator.servers.keys import key_to_ask_with


async def count_remains(context: Context, server: LiveKitServer) -> LiveKitServerStatus:
    """Return the fields of the status that count servers; rooms and participants of None go with the last one."""
    look = await observe.look(context, server, None, await key_to_ask_with(context, server))
    staying = [view for view in look.views if not view.leaving and not view.finished]
    serving = sum(view.up and view.serving for view in staying)
    fields = LiveKitServerStatus(
        servers=[status.describe(item, Plan()) for item in look.servers],
        replicas=len(staying),
        ready_replicas=serving,
        updated_replicas=min(serving, server.status.get("updatedReplicas") or 0),
        draining_replicas=sum(view.leaving for view in look.views),
    )
    return fields if look.servers else joined(fields, LiveKitServerStatus(rooms=None, participants=None))
