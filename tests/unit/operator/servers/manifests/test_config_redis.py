"""Redis in livekit-server's configuration."""

from typing import Any

import pytest

from livekit_operator.servers.manifests import config as server_config
from tests.fakes import models
from tests.unit.operator.servers.manifests.configurations import REDIS_TLS, SENTINEL, config


@pytest.mark.parametrize(
    ("redis", "expected", "description"),
    [
        ({"managed": {}}, {"address": "voice-redis.team.svc:6379"}, "managed: voice-redis"),
        ({"address": "r:6379", "db": 0}, {"address": "r:6379"}, "r:6379"),
        (
            REDIS_TLS,
            {
                "address": "redis.db:6380",
                "username": "livekit",
                "db": 3,
                "tls": {
                    "enabled": True,
                    "server_name": "redis.example.com",
                    "ca_cert_file": "/etc/livekit-redis-ca/ca.crt",
                    "client_cert_file": "/etc/livekit-redis-client/tls.crt",
                    "client_key_file": "/etc/livekit-redis-client/tls.key",
                    "insecure": True,
                },
            },
            "redis.db:6380",
        ),
        ({"address": "r:6379", "tls": {}}, {"address": "r:6379", "tls": {"enabled": True}}, "r:6379"),
        (
            SENTINEL,
            {
                "sentinel_master_name": "main",
                "sentinel_addresses": ["s1:26379", "s2:26379"],
                "sentinel_username": "watcher",
            },
            "sentinel: main of s1:26379, s2:26379",
        ),
        ({"cluster": {"addresses": ["a:1", "b:2"]}}, {"cluster_addresses": ["a:1", "b:2"]}, "cluster: a:1, b:2"),
    ],
)
def test_redis(redis: dict[str, Any], expected: dict[str, Any], description: str) -> None:
    assert config(redis_address="voice-redis.team.svc:6379", redis=redis)["redis"] == expected
    assert server_config.redis_description(models.server(redis=redis)) == description


def test_without_redis() -> None:
    assert "redis" not in config()
    assert server_config.redis_description(models.server()) is None
