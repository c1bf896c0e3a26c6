"""A server's Redis: whether another LiveKitServer uses it too, why a managed one does not start, what it refuses.

With a Redis that accepts no writes servers stay ready, and with one that accepts no messages they are unready without
saying why: their health page checks only messages to themselves. What Redis refused is only in their logs.
"""

import asyncio
import base64
import secrets
from collections.abc import Iterator
from datetime import timedelta

from pydantic import ValidationError

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.server.redis import Redis
from livekit_operator.conditions import find, holds
from livekit_operator.constants import CONDITION_READY
from livekit_operator.containers import container_status, waiting
from livekit_operator.engine.cache import Key, Manifest, key_of
from livekit_operator.errors import KubernetesError, Problem
from livekit_operator.manifests.metadata import COMPONENT_REDIS, selector
from livekit_operator.moments import parse_timestamp
from livekit_operator.reconciling import children
from livekit_operator.reconciling.refusals import blocked_if_refused
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.redis_refusals import find_logged
from livekit_operator.servers.decisions.redis_sharing import Endpoints, RedisClaim, endpoints, find_sharer
from livekit_operator.servers.manifests import config, managed_redis
from livekit_operator.servers.manifests.names import is_shared
from livekit_operator.servers.manifests.pod import CONTAINER
from livekit_operator.servers.manifests.secret_inputs import managed_redis_secret_name
from livekit_operator.servers.pods import Replica, Replicas, pods_of
from livekit_operator.servers.replicas import metrics_credentials

_RETRY_SECONDS = 10.0
# How often the log of a server is read, one that is refused something more often: it says so every two seconds.
_READ_EACH, _READ_AGAIN = timedelta(seconds=30), timedelta(seconds=10)
_LOG_SECONDS = 8
# A server that is not ready for so long and has nobody may hang: after its Redis refused it messages psrpc gives a
# subscription up for good, and only a new server helps.
_HUNG_AFTER = timedelta(minutes=3)
# How long a server that runs may need to become ready.
_READY_WITHIN = timedelta(seconds=15)
# A server reports itself healthy for four seconds after its start (pkg/service/server.go healthCheck).
_SETTLES_WITHIN = timedelta(seconds=6)
_LONG_AGO = "1970-01-01T00:00:00Z"


def find_sharing(context: Context, server: LiveKitServer) -> Problem | None:
    """Return why this server must not be at its Redis, None when nobody else is there or others have to go."""
    mine = _claim(context, server)
    if mine is None:
        return None
    other = find_sharer(mine, _others(context, server, mine), now=context.now())
    if other is None:
        return None
    # Names of other namespaces are not for everybody to know.
    who = f"LiveKitServer {other.key[1]}" if other.key[0] == server.metadata.namespace else "Another LiveKitServer"
    message = (
        f"{who} uses the same Redis ({config.redis_description(server)}). LiveKit's messages know no database "
        f"numbers, so each would be given jobs, rooms and participants of the other, whatever spec.redis.db says: give "
        f"this one a Redis of its own in spec.redis."
    )
    return Problem(reasons.REDIS_SHARED, message, retry_after=_RETRY_SECONDS)


def _others(context: Context, server: LiveKitServer, mine: RedisClaim) -> Iterator[RedisClaim]:
    """Yield the claims to the addresses of this server's Redis; only those resources are read as a whole."""
    for manifest in context.resources["LiveKitServer"]:
        key, spec = key_of(manifest), manifest.get("spec") or {}
        if key == server.key or not spec.get("redis") or spec.get("replicas") == 0:
            continue
        try:
            if not _endpoints(key, Redis.model_validate(spec["redis"])) & mine.endpoints:
                continue
            found = _claim(context, LiveKitServer.model_validate(manifest))
        except ValidationError:
            continue
        if found is not None:
            yield found


def _claim(context: Context, server: LiveKitServer) -> RedisClaim | None:
    redis = server.spec.redis
    if redis is None:
        return None
    pods = pods_of(context, server)
    running = any(holds((pod.get("status") or {}).get("conditions"), CONDITION_READY) for pod in pods)
    created = parse_timestamp(server.metadata.creation_timestamp or _LONG_AGO)
    return RedisClaim(server.key, created, _endpoints(server.key, redis), running, owns=redis.managed is not None)


def _endpoints(key: Key, redis: Redis) -> Endpoints:
    namespace, name = key
    if redis.managed:
        return endpoints(namespace, [managed_redis.address(namespace, name)])
    if redis.sentinel:
        return endpoints(namespace, redis.sentinel.addresses, master=redis.sentinel.master_name)
    return endpoints(namespace, redis.cluster.addresses if redis.cluster else [redis.address or ""])


def find_managed_trouble(context: Context, server: LiveKitServer) -> Problem | None:
    """Return why the managed Redis does not start, in the words of the scheduler, the kubelet or a policy."""
    if not has_managed_redis(server):
        return None
    key = server.metadata.namespace, managed_redis.redis_name(server)
    deployment = context.children["Deployment"].get(key)
    state = (deployment or {}).get("status") or {}
    if deployment is None or state.get("availableReplicas"):
        return None
    failure = find(state.get("conditions"), "ReplicaFailure")
    words = failure.get("message") if failure.get("status") == "True" else None
    for pod in () if words else _redis_pods(context, server):
        words = words or _waits_for(pod)
    if not words:
        return None
    message = (
        f"The managed Redis does not start: {words}. Its pod has spec.podTemplate's nodeSelector and tolerations, and "
        f"spec.redis.managed.resources; or name a Redis of your own in spec.redis."
    )
    return Problem(reasons.REDIS_UNREACHABLE, message, retry_after=_RETRY_SECONDS)


def _redis_pods(context: Context, server: LiveKitServer) -> Iterator[Manifest]:
    """Yield the pods of the managed Redis. They belong to a ReplicaSet, so only labels and namespace identify them."""
    wanted = selector(server, COMPONENT_REDIS).items()
    for pod in context.children["Pod"]:
        labels = pod["metadata"].get("labels") or {}
        if pod["metadata"].get("namespace") == server.metadata.namespace and wanted <= labels.items():
            yield pod


def _waits_for(pod: Manifest) -> str | None:
    """Return what keeps a pod from running, None when it is on its way."""
    name, state = pod["metadata"]["name"], pod.get("status") or {}
    scheduled = find(state.get("conditions"), "PodScheduled")
    if scheduled.get("status") == "False":
        return f"pod {name}: {scheduled.get('message', '')}".rstrip(". ")
    why = waiting(container_status(pod, managed_redis.CONTAINER))
    return f"pod {name}: {why[0]}: {why[1]}".rstrip(": .") if why else None


async def find_refusal(context: Context, server: LiveKitServer, replicas: Replicas) -> Problem | None:
    """Return what Redis refuses the servers by their logs, which are read now and then; None when it does not."""
    if not is_shared(server):
        return None
    running = [item for item in replicas.every if item.pod["spec"].get("nodeName") and not item.view.stuck]
    await asyncio.gather(*(_read_log(context, item) for item in running))
    said = [item.memory.refused for item in running if not item.view.leaving]
    words = next((text for text in said if text), None)
    return Problem(reasons.REDIS_REFUSED, words, retry_after=_RETRY_SECONDS) if words else None


async def _read_log(context: Context, item: Replica) -> None:
    memory, now = item.memory, context.now()
    memory.log_read = memory.log_read or now
    often = memory.refused is not None or not item.view.ready
    if now - memory.log_read < (_READ_AGAIN if often else _READ_EACH):
        return
    memory.log_read = now
    try:
        log = await context.kubernetes.log(*key_of(item.pod), CONTAINER, since_seconds=_LOG_SECONDS)
    except KubernetesError:
        return  # it has not started, or its node is down
    memory.refused = find_logged(log)


def has_waited(context: Context, replicas: Replicas) -> bool:
    """Return whether a server has run for longer than one needs to become ready, and is not."""
    for item in replicas.every:
        running = (container_status(item.pod, CONTAINER).get("state") or {}).get("running") or {}
        began = running.get("startedAt")
        if began and not item.view.ready and context.now() - parse_timestamp(began) > _READY_WITHIN:
            return True
    return False


def is_settling(context: Context, server: LiveKitServer, replicas: Replicas) -> bool:
    """Return whether no server has been ready for longer than one is at first, whatever Redis says."""
    if not is_shared(server):
        return False
    since = [
        find((item.pod.get("status") or {}).get("conditions"), CONDITION_READY).get("lastTransitionTime")
        for item in replicas.every
        if item.view.up and not item.view.leaving
    ]
    return bool(since) and all(at and context.now() - parse_timestamp(at) < _SETTLES_WITHIN for at in since)


async def find_hung(context: Context, server: LiveKitServer, replicas: Replicas) -> tuple[str, ...]:
    """Return the names of servers that run without anybody on them and have not been ready for too long."""
    if not is_shared(server):
        return ()
    hung = []
    for item in replicas.every:
        ready = find((item.pod.get("status") or {}).get("conditions"), CONDITION_READY)
        since = ready.get("lastTransitionTime")
        stands = not item.view.ready and not item.view.leaving and not item.view.stuck and item.view.shared
        if not stands or not item.address or not since or context.now() - parse_timestamp(since) < _HUNG_AFTER:
            continue
        port = item.memory.metrics_port
        credentials = await metrics_credentials(context, server)
        load = await context.loads.load(item.address, port, credentials) if port else None
        if load is not None and load.participants == 0:
            hung.append(item.view.name)
    return tuple(hung)


def has_managed_redis(server: LiveKitServer) -> bool:
    """Return whether the operator makes the server's Redis."""
    return bool(server.spec.redis and server.spec.redis.managed)


async def ensure_redis(context: Context, server: LiveKitServer) -> None:
    """Make the small Redis of `spec.redis.managed`: before anything else, because servers read its password."""
    if not has_managed_redis(server):
        return
    key = (server.metadata.namespace, managed_redis_secret_name(server))
    secret = context.children["Secret"].get(key) or await children.find(context, "Secret", *key)
    try:
        password = base64.b64decode((secret or {})["data"]["password"], validate=True).decode()
    except (KeyError, TypeError, ValueError):
        password = secrets.token_urlsafe(24)
    image, omit_ids = context.settings.redis_image, context.settings.omit_ids
    known = context.children["Deployment"].get((server.metadata.namespace, managed_redis.redis_name(server)))
    wanted = managed_redis.build_managed_redis(server, password, image, omit_ids=omit_ids)
    with blocked_if_refused():
        for manifest in wanted:
            runs = manifest["kind"] == "Deployment"
            await children.ensure(context, server, managed_redis.keep_running(manifest, known) if runs else manifest)
