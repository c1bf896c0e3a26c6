"""Each of a server's pods: whether it is ready, current, draining, and which rooms it has."""

import asyncio
import base64
from dataclasses import dataclass, replace
from datetime import timedelta

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.conditions import find, holds
from livekit_operator.constants import ANNOTATION_SLOT_INPUTS, CONDITION_READY, LABEL_REVISION, LABEL_SERVING
from livekit_operator.containers import container_status
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Blocked, ServerRefused, ServerUnreachable
from livekit_operator.manifests.metadata import COMPONENT_SERVER
from livekit_operator.moments import parse_timestamp
from livekit_operator.outside import MOST_COUNT, said
from livekit_operator.reconciling.foreign_secrets import read_value
from livekit_operator.reconciling.hanging_pods import why_it_hangs
from livekit_operator.reconciling.ownership import adopt_pods
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.key_rotation import ApiKey
from livekit_operator.servers.decisions.rollout import FORCED_GRACE_SECONDS, ServerPod
from livekit_operator.servers.manifests.names import is_shared
from livekit_operator.servers.manifests.pod import CONTAINER, ServerInputs, read_facts, revisions, slot_digest
from livekit_operator.servers.memory import PodMemory
from livekit_operator.servers.pod_troubles import hanging_trouble, has_ended, last_words, start_trouble
from livekit_operator.servers.pods import Look, Server, advertised, connect_to, pods_of, slot_of
from livekit_operator.servers.slots import known_slot_inputs
from livekit_operator.views import ServerLoad

# A server is lost when it did not answer this often in a row although Kubernetes reports it ready.
LOST_AFTER_LOOKS = 2
# How long a draining server must have had no participants before it need not wait: servers without Redis count them
# again every five seconds (rtc/room.go roomUpdateInterval).
DESERTED_AFTER = timedelta(seconds=15)
_SECOND_LOOK_SECONDS = 0.2
# How soon one that did not answer is asked again.
SILENT_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Asked:
    """What pods are compared and asked with; versions of None take any, without a key nothing is asked."""

    revisions: frozenset[str] | None
    key: ApiKey | None
    credentials: tuple[str, str] | None


async def look(context: Context, server: LiveKitServer, inputs: ServerInputs | None, key: ApiKey | None) -> Look:
    """Observe every pod of a server and ask each for its rooms, all at once."""
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
        # Asked again before anything else: it gets new connections until it is known to be lost.
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
    # A policy may remove it from every pod: a replacement would lack it as well.
    return told is None or told == slot_digest(server, inputs)


async def _ask(
    context: Context, server: LiveKitServer, pod: Manifest, memory: PodMemory, asked: Asked
) -> ServerLoad | None:
    """Return a server's rooms and participants; None when it does not answer."""
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
        memory.client = connect_to(context, server, address, key)
        memory.key = key
    try:
        rooms = await memory.client.list_rooms()
    except ServerUnreachable:
        return None
    except ServerRefused:
        return ServerLoad()  # it runs, with former keys
    names = tuple(sorted(said(room.name) for room in rooms if room.participants))
    return ServerLoad(len(rooms), min(sum(room.participants for room in rooms), MOST_COUNT), names, rooms)


async def metrics_credentials(context: Context, server: LiveKitServer) -> tuple[str, str] | None:
    """Return the login that the metrics of servers want, None when they want none or it is not there."""
    prometheus = server.spec.prometheus
    if not (is_shared(server) and prometheus and prometheus.credentials_secret_ref):
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
