"""A server's pods: what each is doing, and carrying out what was decided about them."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.clients.livekit import LiveKit
from livekit_operator.conditions import find, holds, parse_timestamp, timestamp
from livekit_operator.constants import (
    ANNOTATION_SLOT_INPUTS,
    CONDITION_READY,
    LABEL_REVISION,
    LABEL_SERVING,
)
from livekit_operator.containers import container, container_status
from livekit_operator.engine.cache import Key, Manifest, key_of
from livekit_operator.errors import Blocked, Conflict, KubernetesError, NotFound, ServerRefused, ServerUnreachable
from livekit_operator.key_rotation import ApiKey
from livekit_operator.outside import MOST_COUNT, said
from livekit_operator.reconcilers import children, status
from livekit_operator.reconcilers.braking import note_made
from livekit_operator.reconcilers.context import Context, PodMemory
from livekit_operator.reconcilers.hanging_pods import why_it_hangs
from livekit_operator.reconcilers.ownership import adopt, adopt_pods, is_owned, relabel
from livekit_operator.reconcilers.secrets import read_value
from livekit_operator.reconcilers.server_children import known_slot_inputs, pods_of, refusal, slot_of
from livekit_operator.reconcilers.server_pod_troubles import hanging_trouble, has_ended, last_words, start_trouble
from livekit_operator.resources import livekitserver as build
from livekit_operator.resources.metadata import COMPONENT_SERVER
from livekit_operator.resources.server_pods import (
    CONTAINER,
    ServerInputs,
    SlotInputs,
    build_pod,
    grace_seconds,
    read_facts,
    revisions,
    slot_digest,
)
from livekit_operator.server_rollout import FORCED_GRACE_SECONDS, Plan, ServerPod
from livekit_operator.views import ServerLoad

# A server is lost when it did not answer this often in a row, although Kubernetes takes it for ready.
LOST_AFTER_LOOKS = 2
# How long one that leaves must have been without participants before it need not wait: servers without Redis count them
# anew every five seconds (rtc/room.go roomUpdateInterval).
DESERTED_AFTER = timedelta(seconds=15)
_SECOND_LOOK_SECONDS = 0.2
# How soon one that did not answer is asked again.
SILENT_RETRY_SECONDS = 1.0
# How long a pass goes on ending rooms: what is left is for the next one.
_ENDING_SECONDS = 10.0
# How long every node needs at most to lead no new client to a server that was taken out of its Service.
WITHDRAWAL_SECONDS = 2.0
# Rooms named in a status or an event.
MOST_NAMES = 10


@dataclass(frozen=True)
class Server:
    """One server: its pod, what deciding needs of it, what it has to do and why it does not start."""

    pod: Manifest
    view: ServerPod
    load: ServerLoad | None = None
    trouble: Blocked | None = None
    public: str | None = None
    """The public IP address of its node, where whoever made the node says one."""

    @property
    def address(self) -> str | None:
        """Return the IP address of its pod."""
        found: str | None = (self.pod.get("status") or {}).get("podIP")
        return found

    @property
    def signal_url(self) -> str:
        """Return the URL of its own signalling, by its pod's address."""
        ports = container(self.pod, CONTAINER).get("ports") or ()
        port = next((entry["containerPort"] for entry in ports if entry.get("name") == "signal"), 0)
        address = self.address or ""
        return f"ws://{f'[{address}]' if ':' in address else address}:{port}"

    @property
    def node_address(self) -> str | None:
        """Return the IP address of its node."""
        found: str | None = (self.pod.get("status") or {}).get("hostIP")
        return found

    @property
    def media_address(self) -> str | None:
        """Return the IP address that it tells clients, None where only it knows which one it has found."""
        if _variable(self.pod, "NODE_IP") is None:
            return self.public
        return advertised(self.pod) or self.node_address


@dataclass(frozen=True)
class Asked:
    """What pods are compared and asked with; versions of None take any, without a key nothing is asked."""

    revisions: frozenset[str] | None
    key: ApiKey | None
    credentials: tuple[str, str] | None


@dataclass(frozen=True)
class Look:
    """What was seen of all servers; `lost` when one died without a word, with the rooms it had."""

    servers: Sequence[Server]
    lost: bool = False

    @property
    def views(self) -> list[ServerPod]:
        """Return what deciding needs."""
        return [server.view for server in self.servers]


async def look(context: Context, server: LiveKitServer, inputs: ServerInputs | None, key: ApiKey | None) -> Look:
    """Look at every pod of a server and ask each what it has to do, all at once."""
    await adopt_pods(context, server, COMPONENT_SERVER, lambda pod: slot_of(server, pod) is not None)
    pods = pods_of(context, server)
    memories = context.server_pods.setdefault(server.key, {})
    wanted = revisions(server, inputs) if inputs else None
    credentials = await metrics_credentials(context, server)
    asked = Asked(wanted, key, credentials)
    for pod in pods:
        memories.setdefault(pod["metadata"]["uid"], PodMemory())
    servers = await asyncio.gather(
        *(_look_at(context, server, pod, memories[pod["metadata"]["uid"]], asked) for pod in pods)
    )
    lost = False
    for uid in memories.keys() - {pod["metadata"]["uid"] for pod in pods}:
        memory = memories.pop(uid)
        lost = lost or (bool(memory.container) and not memory.leaving)
        if memory.client is not None:
            await memory.client.close()
    for item in servers:
        memory = memories[item.pod["metadata"]["uid"]]
        run = _container_id(item.pod)
        lost = lost or (bool(memory.container) and run != memory.container)
        lost = lost or (item.view.unreachable and item.view.serving)
        memory.container, memory.leaving = run, item.view.leaving
    hangs = await why_it_hangs(context, [item.pod for item in servers if item.trouble is None])
    return Look([_told(item, hangs) for item in servers], lost)


def _told(item: Server, hangs: tuple[str, str] | None) -> Server:
    if hangs is None or hangs[0] != item.view.name:
        return item
    return replace(item, trouble=hanging_trouble(*hangs))


async def forget(context: Context, key: Key) -> None:
    """Close what was opened to a server's pods, and forget them."""
    for memory in context.server_pods.pop(key, {}).values():
        if memory.client is not None:
            await memory.client.close()


async def carry_out(
    context: Context,
    server: LiveKitServer,
    look_: Look,
    decided: Plan,
    inputs: ServerInputs | None,
    slots: Mapping[int, SlotInputs],
) -> float | None:
    """Start, lead clients to and let go the servers that were decided on; return when to look again, if soon."""
    by_name = {item.view.name: item for item in look_.servers}
    again = None
    # The heir first: between the two writes both serve, which is better than none.
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
            # Its last caller has left; agents that wait in its rooms would keep it.
            await _end_rooms(context.server_pods[server.key][item.pod["metadata"]["uid"]].client)
        await children.remove(context, "Pod", item.pod, grace_seconds=grace)
    for slot in decided.start:
        if inputs is None or slot not in slots:
            continue
        serving = not any(item.view.serving for item in look_.servers if item.view.up) or (
            build.is_shared(server) and all(item.view.shared for item in look_.servers)
        )
        pod = build_pod(server, inputs, slots[slot], serving=serving)
        try:
            made = await context.kubernetes.create(pod)
            context.children["Pod"].put(made)
            note_made(context, server, COMPONENT_SERVER, made)
        except KubernetesError as error:
            if not isinstance(error, Conflict):
                raise refusal(error, pod) from error
            # Not ours, or ours and not in the cache yet, or ours without the labels by which it is found.
            found = await children.find(context, "Pod", *key_of(pod))
            if found is not None and not is_owned(server, found):
                await adopt(context, server, pod, found)
            elif found is not None:
                await relabel(context, server, COMPONENT_SERVER, found)
    return again


async def _withdraw(context: Context, server: LiveKitServer, item: Server, look_: Look, decided: Plan) -> float | None:
    """Lead clients to the others before a server is let go; return how long nodes still need to learn of it.

    One without participants ends at once, and until then nodes go on leading every other new client to it.
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
    """Delete every room of leaving servers, which disconnects who is there: without anybody a leaving server ends.

    Telling Kubernetes a shorter time does not help: the kubelet stays with the one it has begun to wait
    (pkg/kubelet/kubelet.go SyncTerminatingPod).
    """
    for item in look_.servers:
        if key is None or not item.address or not item.view.leaving:
            continue
        client = _connect(context, server, item.address, key)
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


def describe(item: Server, decided: Plan) -> dict[str, Any]:
    """Return one line of `status.servers`."""
    view, load = item.view, item.load
    leaves_by = item.pod["metadata"].get("deletionTimestamp") if view.leaving else None
    waits = view.name in decided.waits_for
    if waits and decided.deadline:
        leaves_by = timestamp(decided.deadline)
    line = {
        "name": view.name,
        "node": item.pod["spec"].get("nodeName"),
        "address": item.media_address,
        "state": _state(item),
        "rooms": load.rooms if load else None,
        "participants": load.participants if load else None,
        "leavesBy": leaves_by,
        "waitsFor": list(load.names[:MOST_NAMES]) if load and (view.leaving or waits) else [],
    }
    return {key: value for key, value in line.items() if value not in (None, [])}


def advertised(pod: Manifest) -> str | None:
    """Return the address that a server was told to advertise, None when it is its node's or one it finds itself."""
    return (_variable(pod, "NODE_IP") or {}).get("value")


def _variable(pod: Manifest, name: str) -> Manifest | None:
    variables = container(pod, CONTAINER).get("env") or ()
    return next((v for v in variables if v["name"] == name), None)


def _state(item: Server) -> str:
    view = item.view
    if view.leaving:
        return "Draining"
    if view.finished or (view.stuck and not view.unschedulable):
        return "Failed"
    if view.unreachable:
        return "Unreachable"
    if view.ready:
        return "Serving" if view.serving else "Standby"
    return "Pending" if view.unschedulable or not item.pod["spec"].get("nodeName") else "Starting"


async def _look_at(
    context: Context,
    server: LiveKitServer,
    pod: Manifest,
    memory: PodMemory,
    asked: Asked,
) -> Server:
    metadata, pod_status = pod["metadata"], pod.get("status") or {}
    labels = metadata.get("labels") or {}
    slot = slot_of(server, pod) or 0
    ready = holds(pod_status.get("conditions"), CONDITION_READY)
    running = ready or ("deletionTimestamp" in metadata and pod_status.get("phase") == "Running")
    if memory.shared is None:
        facts = read_facts(server, pod)
        memory.shared, memory.metrics_port = facts.shared, facts.metrics_port
    load = await _ask(context, server, pod, memory, asked) if running else None
    memory.silent = memory.silent + 1 if running and load is None else 0
    if memory.silent == 1 and memory.shared:
        # Asked again before anything else: clients are led to it until it is known to be lost.
        await asyncio.sleep(_SECOND_LOOK_SECONDS)
        load = await _ask(context, server, pod, memory, asked)
        memory.silent = memory.silent + 1 if load is None else 0
    trouble = start_trouble(pod) if not ready else None
    if trouble is not None and has_ended(pod):
        trouble = await last_words(context, pod, memory) or trouble
    leaving = "deletionTimestamp" in metadata
    empty = leaving and load is not None and load.participants == 0
    memory.deserted_since = (memory.deserted_since or context.now()) if empty else None
    node = context.nodes.get(("", pod["spec"].get("nodeName") or ""))
    scheduled = find(pod_status.get("conditions"), "PodScheduled")
    view = ServerPod(
        name=metadata["name"],
        slot=slot,
        created=parse_timestamp(metadata["creationTimestamp"]),
        current=asked.revisions is None or await _is_current(context, server, pod, slot, asked.revisions),
        ready=ready,
        serving=labels.get(LABEL_SERVING) == "true",
        leaving=leaving,
        shared=bool(memory.shared),
        deserted=memory.deserted_since is not None and context.now() - memory.deserted_since >= DESERTED_AFTER,
        finished=pod_status.get("phase") in ("Succeeded", "Failed"),
        stuck=trouble is not None and "running" not in (container_status(pod, CONTAINER).get("state") or {}),
        unschedulable=scheduled.get("reason") == "Unschedulable",
        cordoned=bool(node and node["spec"]["unschedulable"]),
        unreachable=ready and memory.silent >= LOST_AFTER_LOOKS,
        rooms=load.rooms if load else None,
        participants=load.participants if load else None,
        hurried=metadata.get("deletionGracePeriodSeconds", FORCED_GRACE_SECONDS + 1) <= FORCED_GRACE_SECONDS,
    )
    return Server(pod, view, load, trouble, (node or {}).get("public") or None)


async def _is_current(
    context: Context, server: LiveKitServer, pod: Manifest, slot: int, wanted: frozenset[str]
) -> bool:
    if pod["metadata"]["labels"].get(LABEL_REVISION) not in wanted:
        return False
    try:
        inputs = await known_slot_inputs(context, server, slot, advertised(pod))
    except Blocked:
        return True  # not known now: no reason to replace what works
    told = (pod["metadata"].get("annotations") or {}).get(ANNOTATION_SLOT_INPUTS)
    # A policy may take it away from every pod: one made instead would lack it as well.
    return told is None or told == slot_digest(server, inputs)


async def _ask(
    context: Context, server: LiveKitServer, pod: Manifest, memory: PodMemory, asked: Asked
) -> ServerLoad | None:
    """Return what a server has to do; None when it does not answer."""
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        return None
    if memory.shared:
        # Any server lists the rooms of all; only its metrics speak of itself.
        port = memory.metrics_port
        return await context.loads.load(address, port, asked.credentials) if port else ServerLoad()
    key = asked.key
    if key is None:
        return ServerLoad()
    if memory.client is None or memory.key != key:
        if memory.client is not None:
            await memory.client.close()
        memory.client = _connect(context, server, address, key)
        memory.key = key
    try:
        rooms = await memory.client.list_rooms()
    except ServerUnreachable:
        return None
    except ServerRefused:
        return ServerLoad()  # it lives, with keys of before
    names = tuple(sorted(said(room.name) for room in rooms if room.participants))
    return ServerLoad(len(rooms), min(sum(room.participants for room in rooms), MOST_COUNT), names, rooms)


def _connect(context: Context, server: LiveKitServer, address: str, key: ApiKey) -> LiveKit:
    host = f"[{address}]" if ":" in address else address
    return context.connect(f"http://{host}:{server.spec.signal.port}", key.id, key.secret)


async def metrics_credentials(context: Context, server: LiveKitServer) -> tuple[str, str] | None:
    """Return the login that the metrics of servers want, None when they want none or it is not there."""
    prometheus = server.spec.prometheus
    if not (build.is_shared(server) and prometheus and prometheus.credentials_secret_ref):
        return None
    name, field = prometheus.credentials_secret_ref.name, "spec.prometheus.credentialsSecretRef"
    try:
        values = [
            base64.b64decode(await read_value(context, server.metadata.namespace, name, key, field)).decode()
            for key in ("username", "password")
        ]
    except (Blocked, ValueError):
        return None
    return values[0], values[1]


def _container_id(pod: Manifest) -> str:
    return str(container_status(pod, CONTAINER).get("containerID") or "")


async def _label(context: Context, server: LiveKitServer, pod: Manifest, *, serving: bool) -> None:
    # "false" rather than none: the disruption budget goes on counting a server that had clients.
    patch = {"metadata": {"uid": pod["metadata"]["uid"], "labels": {LABEL_SERVING: "true" if serving else "false"}}}
    try:
        await children.patch(context, server, "Pod", pod["metadata"]["name"], patch)
    except NotFound:
        return


async def _announce(context: Context, server: LiveKitServer, item: Server, grace: int) -> None:
    """Tell in an Event who leaves, and which rooms it waits for."""
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
    await status.emit(context, server, "Normal", "Draining", message)


def deletion_deadline(server: LiveKitServer) -> datetime:
    """Return when a deleted server's calls end at the latest."""
    began = parse_timestamp(server.metadata.deletion_timestamp or "")
    return began + timedelta(seconds=grace_seconds(server))
