"""The deletion of a LiveKitServer: its servers drain, then the resource is released."""

from dataclasses import replace
from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer, LiveKitServerStatus
from livekit_operator.conditions import Observed
from livekit_operator.constants import (
    ANNOTATION_FORCE_DELETE,
    CONDITION_DEGRADED,
    CONDITION_PROGRESSING,
    SERVER_FINALIZER,
)
from livekit_operator.errors import Problem
from livekit_operator.moments import parse_timestamp
from livekit_operator.reconciling.finalizers import remove_finalizer
from livekit_operator.reconciling.ownership import is_orphaning
from livekit_operator.reconciling.status import Outcome
from livekit_operator.servers.apply import carry_out, end_rooms
from livekit_operator.servers.check import end_check
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.plan import Plan
from livekit_operator.servers.decisions.rollout import FORCED_GRACE_SECONDS, Leave
from livekit_operator.servers.keys import key_to_ask_with
from livekit_operator.servers.pods import Replica
from livekit_operator.servers.prepare import adopt_replicas
from livekit_operator.servers.replicas import observe_replicas, remember_replicas
from livekit_operator.servers.status import deletion_deadline, describe, shown_rooms

_DELETION_POLL_SECONDS = 2.0
_LOST_MARGIN = timedelta(seconds=60)


async def finalize(context: Context, server: LiveKitServer) -> Outcome | None:
    """Drain the servers, then release the resource; Kubernetes deletes the rest.

    With `--cascade=orphan` servers and calls go on.
    """
    if SERVER_FINALIZER not in server.metadata.finalizers:
        return None
    if is_orphaning(context, server):
        await remove_finalizer(context, server, SERVER_FINALIZER)
        return None
    forced = server.metadata.annotations.get(ANNOTATION_FORCE_DELETE) == "true"
    await end_check(context, server)
    key = await key_to_ask_with(context, server)
    await adopt_replicas(context, server)
    replicas = await observe_replicas(context, server, None, key)
    await remember_replicas(context, server, replicas)
    if all(_is_overdue(context, item) or _is_lost(context, item) for item in replicas.every):
        await remove_finalizer(context, server, SERVER_FINALIZER)
        return None
    leave = [Leave(view.name) for view in replicas.views if not view.leaving]
    hurried = [view for view in replicas.views if view.leaving and not view.hurried]
    leave += [Leave(view.name, FORCED_GRACE_SECONDS) for view in hurried if view.deserted or forced]
    decided = Plan(leave=tuple(replace(item, grace_seconds=FORCED_GRACE_SECONDS) if forced else item for item in leave))
    await carry_out(context, server, replicas, decided, None)
    if forced:
        await end_rooms(context, server, replicas, key)
    rooms = "; ".join(shown_rooms(item) for item in replicas.every)
    message = (
        f"Waiting until the rooms are empty, at the latest until {deletion_deadline(server):%H:%M:%SZ}: "
        f"{rooms}. Annotate with {ANNOTATION_FORCE_DELETE}=true to end them now."
    )
    fields = LiveKitServerStatus(
        servers=[describe(item, decided) for item in replicas.every],
        draining_replicas=len(replicas.every),
        ready_replicas=0,
    )
    conditions = [
        Observed.not_ready(Problem(reasons.DELETING, message)),
        Observed(CONDITION_PROGRESSING, True, reasons.DELETING, message),
        Observed(CONDITION_DEGRADED, False, reasons.AS_EXPECTED, "It is being deleted."),
    ]
    return Outcome(conditions, fields, _DELETION_POLL_SECONDS, whole=False)


def _is_overdue(context: Context, item: Replica) -> bool:
    ends = item.pod["metadata"].get("deletionTimestamp")
    return ends is not None and context.now() > parse_timestamp(ends) + _LOST_MARGIN


def _is_lost(context: Context, item: Replica) -> bool:
    """Return whether neither a draining server nor its node answers: nobody is left to report that it has ended."""
    node = context.nodes.get(("", item.pod["spec"].get("nodeName") or ""))
    return item.view.leaving and item.load is None and node is not None and not node["ready"]
