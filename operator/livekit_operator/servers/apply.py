"""Carries out what was decided about a server's pods: create, label for new connections, terminate."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.constants import LABEL_SERVING
from livekit_operator.engine.cache import Manifest, key_of
from livekit_operator.errors import Conflict, NotFound, ServerRefused, ServerUnreachable
from livekit_operator.manifests.metadata import COMPONENT_SERVER
from livekit_operator.moments import timestamp
from livekit_operator.reconciling import children, status
from livekit_operator.reconciling.ownership import adopt, is_owned, relabel
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.key_rotation import ApiKey
from livekit_operator.servers.decisions.rollout import Plan
from livekit_operator.servers.manifests.names import is_shared
from livekit_operator.servers.manifests.pod import ServerInputs, SlotInputs, build_pod, grace_seconds
from livekit_operator.servers.pods import MOST_NAMES, Look, Server, connect_to

# How long one pass may spend on closing rooms; the next one continues.
_ENDING_SECONDS = 10.0
# How long every node needs at most to stop sending new connections to a server that was taken out of its Service.
WITHDRAWAL_SECONDS = 2.0


async def carry_out(
    context: Context,
    server: LiveKitServer,
    look_: Look,
    decided: Plan,
    inputs: ServerInputs | None,
    slots: Mapping[int, SlotInputs],
) -> float | None:
    """Create, label and terminate servers as decided; return in how many seconds to look again, if soon."""
    by_name = {item.view.name: item for item in look_.servers}
    again = None
    # The successor first: between the two writes both get new connections, which is better than none.
    for name in decided.serve:
        await _label(context, server, by_name[name].pod, serving=True)
    for name in decided.withdraw:
        await _label(context, server, by_name[name].pod, serving=False)
    for leave in decided.leave:
        item = by_name[leave.name]
        grace = leave.grace_seconds if leave.grace_seconds is not None else grace_seconds(server)
        if wait := await _withdraw(context, server, item, look_, decided):
            again = max(again or 0.0, wait)
            continue
        if not item.view.leaving:
            await _announce(context, server, item, grace)
        elif not item.view.shared:
            # Its last caller has left, and agents that wait in its rooms would keep it running.
            await _end_rooms(context.server_pods[server.key][item.pod["metadata"]["uid"]].client)
        await children.remove(context, "Pod", item.pod, grace_seconds=grace)
    for slot in decided.start:
        if inputs is None or slot not in slots:
            continue
        serving = not any(item.view.serving for item in look_.servers if item.view.up) or (
            is_shared(server) and all(item.view.shared for item in look_.servers)
        )
        await _start(context, server, build_pod(server, inputs, slots[slot], serving=serving))
    return again


async def _start(context: Context, server: LiveKitServer, pod: Manifest) -> None:
    """Create a server's pod, or take over the one of its name."""
    try:
        await children.make_pod(context, server, COMPONENT_SERVER, pod)
    except Conflict:
        # Not ours, or ours and not in the cache yet, or ours without the labels by which it is found.
        found = await children.find(context, "Pod", *key_of(pod))
        if found is not None and not is_owned(server, found):
            await adopt(context, server, pod, found)
        elif found is not None:
            await relabel(context, server, COMPONENT_SERVER, found)


async def _withdraw(context: Context, server: LiveKitServer, item: Server, look_: Look, decided: Plan) -> float | None:
    """Take a server out of its Service before it terminates; return how long nodes still need to learn of it.

    One without participants ends at once, and until nodes know, every other new connection would still go to it.
    """
    going = {leave.name for leave in decided.leave}
    others = [one for one in look_.servers if one.view.up and not one.view.leaving and one.view.name not in going]
    if not item.view.up or item.view.leaving or not any(o.view.serving or o.view.name in decided.serve for o in others):
        return None
    memory = context.server_pods[server.key][item.pod["metadata"]["uid"]]
    if item.view.serving:
        memory.withdrawn = context.now()
        await _label(context, server, item.pod, serving=False)
    if memory.withdrawn is None:
        return None
    left = WITHDRAWAL_SECONDS - (context.now() - memory.withdrawn).total_seconds()
    return left if left > 0 else None


async def end_rooms(context: Context, server: LiveKitServer, look_: Look, key: ApiKey | None) -> None:
    """Delete every room of draining servers, which disconnects everybody: an empty draining server ends.

    A shorter grace period does not help: the kubelet keeps the one with which it began to wait
    (pkg/kubelet/kubelet.go SyncTerminatingPod).
    """
    for item in look_.servers:
        if key is None or not item.address or not item.view.leaving:
            continue
        client = connect_to(context, server, item.address, key)
        await _end_rooms(client)
        await client.close()


async def _end_rooms(client: LiveKit | None) -> None:
    if client is None:
        return
    try:
        async with asyncio.timeout(_ENDING_SECONDS):
            for room in await client.list_rooms():
                await client.delete_room(room.name)
    except (ServerUnreachable, ServerRefused, TimeoutError):
        return  # it ends when its time is over


async def _label(context: Context, server: LiveKitServer, pod: Manifest, *, serving: bool) -> None:
    # "false" rather than no label: the disruption budget still counts a server that has had clients.
    patch = {"metadata": {"uid": pod["metadata"]["uid"], "labels": {LABEL_SERVING: "true" if serving else "false"}}}
    try:
        await children.patch(context, server, "Pod", pod["metadata"]["name"], patch)
    except NotFound:
        return


async def _announce(context: Context, server: LiveKitServer, item: Server, grace: int) -> None:
    """Emit an Event that says which server drains, and which rooms it waits for."""
    load = item.load
    if load is None:
        if not item.view.ready:
            return
        which = "it does not tell which now"  # it may well have calls
    elif load.participants:
        which = ", ".join(load.names[:MOST_NAMES]) or f"{load.rooms} rooms"
    else:
        return
    latest = timestamp(context.now() + timedelta(seconds=grace))
    message = f"{item.view.name} takes no new rooms and leaves when its rooms are empty, or at {latest}: {which}."
    await status.emit(context, server, "Normal", reasons.DRAINING, message)
