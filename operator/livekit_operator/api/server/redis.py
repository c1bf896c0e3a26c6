"""Redis: by which several LiveKit servers are one."""

from typing import Annotated

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import Resources, SecretKeyRef, SecretRef
from livekit_operator.api.server.media import HostPort

RedisUser = Annotated[str, Field(min_length=1, max_length=128)]
Addresses = Annotated[list[HostPort], Field(min_length=1, max_length=64)]


class ManagedRedis(ApiModel):
    """One small Redis beside the server: for trying out. Its memory is lost with its pod."""

    resources: Resources = Field(default=Resources(), description="CPU and memory of its container.")


class RedisSentinel(ApiModel):
    """A Redis whose master Sentinel names."""

    master_name: Annotated[str, Field(min_length=1, max_length=128)] = Field(description="Name of the master.")
    addresses: Addresses = Field(description="Sentinels, as `host:port`.")
    username: RedisUser | None = Field(default=None, description="User at the sentinels.")
    password_secret_ref: SecretKeyRef | None = Field(default=None, description="Password at the sentinels.")


class RedisCluster(ApiModel):
    """A Redis Cluster."""

    addresses: Addresses = Field(description="Some of its nodes, as `host:port`.")


class RedisTls(ApiModel):
    """TLS to Redis."""

    server_name: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="Name in Redis' certificate, when it is not that of the address."
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Certificate of the authority; the image's own authorities when left out."
    )
    client_certificate_secret_ref: SecretRef | None = Field(
        default=None, description="A Secret with `tls.crt` and `tls.key` to show to Redis."
    )
    insecure_skip_verify: bool = Field(default=False, description="Do not verify Redis' certificate.")


class Redis(ApiModel):
    """Where Redis is and how to log in."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "[has(self.managed), has(self.address), has(self.sentinel), has(self.cluster)]"
                ".filter(x, x).size() == 1",
                "set exactly one of managed, address, sentinel and cluster",
            ),
            rule(
                "!has(self.managed) || (!has(self.username) && !has(self.passwordSecretRef) && !has(self.tls) "
                "&& !has(self.db))",
                "a managed Redis takes no further settings",
                ".managed",
            ),
            rule("!has(self.cluster) || !has(self.db)", "a Redis Cluster has only one database", ".db"),
        )
    )

    managed: ManagedRedis | None = Field(
        default=None, description="Run one small Redis, for trying out: it is a single point of failure."
    )
    address: HostPort | None = Field(default=None, description="A single Redis, as `host:port`.")
    sentinel: RedisSentinel | None = Field(default=None, description="A Redis behind Sentinel.")
    cluster: RedisCluster | None = Field(default=None, description="A Redis Cluster.")
    username: RedisUser | None = Field(default=None, description="User.")
    password_secret_ref: SecretKeyRef | None = Field(default=None, description="Password.")
    db: Annotated[int, Field(ge=0, le=1023)] | None = Field(
        default=None,
        description="Number of the database. It keeps no two servers apart: each LiveKitServer needs a Redis of its "
        "own.",
    )
    tls: RedisTls | None = Field(default=None, description="TLS; plain TCP when left out.")
