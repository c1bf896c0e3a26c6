"""Each replica of a server: whether it is ready, current, draining, and which rooms it has."""

import asyncio
import base64
from dataclasses import dataclass, field, replace
from datetime import timedelta

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.conditions import find, holds
from livekit_operator.constants import ANNOTATION_SLOT_INPUTS, CONDITION_READY, LABEL_REVISION, LABEL_SERVING
from livekit_operator.containers import container_status
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Blocked, ServerRefused, ServerUnreachable
from livekit_operator.moments import parse_timestamp
from livekit_operator.outside import MOST_COUNT, said
from livekit_operator.reconciling.foreign_secrets import read_value
from livekit_operator.reconciling.hanging_pods import why_it_hangs
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.key_rotation import ApiKey
from livekit_operator.servers.decisions.lost import Known, is_lost, is_silent, is_unreachable, lost_with_its_pod
from livekit_operator.servers.decisions.rollout import FORCED_GRACE_SECONDS, ServerPod
from livekit_operator.servers.manifests.names import is_shared
from livekit_operator.servers.manifests.pod import CONTAINER, ServerInputs, read_facts, revisions, slot_digest
from livekit_operator.servers.memory import PodMemory
from livekit_operator.servers.pod_troubles import hanging_trouble, has_ended, last_words, start_trouble
from livekit_operator.servers.pods import Replica, Replicas, advertised, connect_to, pods_of, slot_of
from livekit_operator.servers.slots import known_slot_inputs
from livekit_operator.views import ServerLoad

# How long a draining server must have had no participants before it need not wait: servers without Redis count them
# again every five seconds (rtc/room.go roomUpdateInterval).
DESERTED_AFTER = timedelta(seconds=15)
_ASKED_AGAIN_SECONDS = 0.2
# How soon one that did not answer is asked again.
SILENT_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Asked:
    """What pods are compared and asked with; versions of None take any, without a key nothing is asked."""

    revisions: frozenset[str] | None
    key: ApiKey | None
    credentials: tuple[str, str] | None = field(repr=False)


async def observe_replicas(
    context: Context, server: LiveKitServer, inputs: ServerInputs | None, key: ApiKey | None
) -> Replicas:
    """Observe every pod of a server and ask each for its rooms, all at once.

    Whoever observes remembers what they saw, by `remember_replicas`.
    """
    pods = pods_of(context, server)
    before = context.server_pods.get(server.key, {})
    wanted = revisions(server, inputs) if inputs else None
    credentials = await metrics_credentials(context, server)
    asked = Asked(wanted, key, credentials)
    known_pods = [(pod, replace(before.get(pod["metadata"]["uid"]) or PodMemory())) for pod in pods]
    replicas = await asyncio.gather(*(_observe(context, server, pod, memory, asked) for pod, memory in known_pods))
    gone = before.keys() - {pod["metadata"]["uid"] for pod in pods}
    if gone:  # those that are there and have lost their owner, by `--cascade=orphan`, serve as before
        gone -= {pod["metadata"]["uid"] for pod in context.children["Pod"]}
    lost = any(lost_with_its_pod(Known(before[uid].container, before[uid].leaving)) for uid in gone)
    for item in replicas:
        memory = item.memory
        run, known = _container_id(item.pod), Known(memory.container, memory.leaving)
        lost = lost or is_lost(known, run, unreachable=item.view.unreachable, serving=item.view.serving)
        memory.container, memory.leaving = run, item.view.leaving
    hangs = await why_it_hangs(context, [item.pod for item in replicas if item.trouble is None])
    return Replicas([_with_trouble(item, hangs) for item in replicas], lost)


async def remember_replicas(context: Context, server: LiveKitServer, replicas: Replicas) -> None:
    """Remember what was seen of a server's pods, and close what is not asked by any more."""
    before, now = context.server_pods.get(server.key, {}), context.now()
    context.server_pods[server.key] = {item.pod["metadata"]["uid"]: item.memory for item in replicas.every}
    for item in replicas.every:
        item.memory.no_later(now)  # the clock may have been set back meanwhile
    kept = [item.memory.client for item in replicas.every]
    for client in [memory.client for memory in before.values() if memory.client]:
        if not any(client is one for one in kept):
            await client.close()


def _with_trouble(item: Replica, hangs: tuple[str, str] | None) -> Replica:
    if hangs is None or hangs[0] != item.view.name:
        return item
    return replace(item, trouble=hanging_trouble(*hangs))


async def _observe(
    context: Context,
    server: LiveKitServer,
    pod: Manifest,
    memory: PodMemory,
    asked: Asked,
) -> Replica:
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
        await asyncio.sleep(_ASKED_AGAIN_SECONDS)
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
        unreachable=is_unreachable(ready=ready, silent=memory.silent),
        rooms=load.rooms if load else None,
        participants=load.participants if load else None,
        hurried=metadata.get("deletionGracePeriodSeconds", FORCED_GRACE_SECONDS + 1) <= FORCED_GRACE_SECONDS,
    )
    told = _told_load(server, memory, view.name, load) if running else None
    return Replica(pod, view, load, trouble, told, (node or {}).get("public") or None, memory)


def _told_load(server: LiveKitServer, memory: PodMemory, name: str, load: ServerLoad | None) -> ServerLoad | None:
    """Return the load to tell of: of a server that did not answer once the one before, or its status would flap.

    After a start of the operator only the status knows that one.
    """
    if load is not None:
        memory.load = replace(load, listing=None)
    elif is_silent(memory.silent):
        memory.load = None
    elif memory.load is None:
        line = next((line for line in server.last.servers if line.name == name), None)
        if line is not None and line.rooms is not None:
            memory.load = ServerLoad(line.rooms, line.participants, tuple(line.waits_for or ()))
    return memory.load


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
