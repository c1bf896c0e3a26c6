"""Parts of a server's spec, and its configuration as tests read it."""

from typing import Any

from livekit_operator.servers.manifests import config as server_config
from tests.fakes import models

LIMITS = {
    "tracks": 1,
    "bytesPerSecond": 2,
    "videoSubscriptions": 3,
    "audioSubscriptions": 4,
    "metadataBytes": 5,
    "attributesBytes": 6,
    "roomNameLength": 7,
    "identityLength": 8,
    "participantNameLength": 0,
}
TURN_TLS = {"domain": "turn.example.com", "udp": False, "tls": {"certificate": {"secretName": "turn-cert"}}}
LOGIN = {"host": "203.0.113.60", "port": 3478, "credentialsSecretRef": {"name": "turn"}}
REDIS_TLS = {
    "address": "redis.db:6380",
    "username": "livekit",
    "db": 3,
    "passwordSecretRef": {"name": "redis", "key": "pw"},
    "tls": {
        "serverName": "redis.example.com",
        "caSecretRef": {"name": "redis-ca", "key": "root.pem"},
        "clientCertificateSecretRef": {"name": "redis-client"},
        "insecureSkipVerify": True,
    },
}
SENTINEL = {
    "sentinel": {
        "masterName": "main",
        "addresses": ["s1:26379", "s2:26379"],
        "username": "watcher",
        "passwordSecretRef": {"name": "sentinel", "key": "pw"},
    }
}


def config(webhook: str | None = None, redis_address: str | None = None, **spec: Any) -> dict[str, Any]:
    server = models.server(**spec)
    return server_config.build_config(server, operator_webhook_url=webhook, redis_address=redis_address)
