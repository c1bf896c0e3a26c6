"""A server's Redis as far as it concerns others: whether another LiveKitServer uses the same one."""

from collections.abc import Iterator

from pydantic import ValidationError

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.redis import Redis
from livekit_operator.conditions import holds, parse_timestamp
from livekit_operator.constants import CONDITION_READY
from livekit_operator.engine.cache import Key, key_of
from livekit_operator.errors import Blocked
from livekit_operator.reconcilers.context import Context
from livekit_operator.reconcilers.server_children import pods_of
from livekit_operator.redis_sharing import Endpoints, RedisClaim, endpoints, find_sharer
from livekit_operator.resources import managed_redis, server_config

_RETRY_SECONDS = 10.0
_LONG_AGO = "1970-01-01T00:00:00Z"


def find_sharing(context: Context, server: LiveKitServer) -> Blocked | None:
    """Return why this server must not be at its Redis, None when nobody else is there or others have to go."""
    mine = _claim(context, server)
    if mine is None:
        return None
    other = find_sharer(mine, _others(context, server, mine), now=context.now())
    if other is None:
        return None
    # Who else there is in the cluster is not for everybody to know.
    who = f"LiveKitServer {other.key[1]}" if other.key[0] == server.metadata.namespace else "Another LiveKitServer"
    message = (
        f"{who} uses the same Redis ({server_config.redis_description(server)}). LiveKit's messages know no database "
        f"numbers, so each would be given jobs, rooms and participants of the other, whatever spec.redis.db says: give "
        f"this one a Redis of its own in spec.redis."
    )
    return Blocked("RedisShared", message, retry_after=_RETRY_SECONDS)


def _others(context: Context, server: LiveKitServer, mine: RedisClaim) -> Iterator[RedisClaim]:
    """Yield the claims to what leads to this server's Redis; whole resources are read only of those."""
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
