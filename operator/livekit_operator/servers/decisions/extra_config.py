"""What a user's own configuration must not say: fields, what Services rely on, secrets."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

# What fields of the resource say, and Services, keys, rollouts and the status rely on.
_OWNERS: Final[Mapping[str, str]] = {
    "port": "spec.signal.port",
    "bind_addresses": "spec.signal.bindAddresses",
    "prometheus": "spec.prometheus",
    "prometheus_port": "spec.prometheus.port",
    "rtc.udp_port": "spec.media.udp.muxPorts",
    "rtc.port_range_start": "spec.media.udp.portRange",
    "rtc.port_range_end": "spec.media.udp.portRange",
    "rtc.tcp_port": "spec.media.tcpPort",
    "rtc.node_ip": "spec.media.nodeIp",
    "rtc.use_external_ip": "spec.media.discoverExternalIp",
    "rtc.stun_servers": "spec.media.stunServers",
    "rtc.advertise_internal_ip": "spec.media.advertiseInternalIp",
    "rtc.use_ice_lite": "spec.media.iceLite",
    "rtc.interfaces": "spec.media.interfaces",
    "rtc.ips": "spec.media.ips",
    "rtc.allow_tcp_fallback": "spec.media.allowTcpFallback",
    "redis.address": "spec.redis.address",
    "redis.username": "spec.redis.username",
    "redis.password": "spec.redis.passwordSecretRef",
    "redis.db": "spec.redis.db",
    "redis.use_tls": "spec.redis.tls",
    "redis.tls": "spec.redis.tls",
    "redis.sentinel_master_name": "spec.redis.sentinel",
    "redis.sentinel_username": "spec.redis.sentinel",
    "redis.sentinel_password": "spec.redis.sentinel.passwordSecretRef",
    "redis.sentinel_addresses": "spec.redis.sentinel",
    "redis.cluster_addresses": "spec.redis.cluster",
    "room.auto_create": "spec.room.autoCreate",
    "room.enabled_codecs": "spec.room.enabledCodecs",
    "room.max_participants": "spec.room.maxParticipants",
    "room.empty_timeout": "spec.room.emptyTimeoutSeconds",
    "room.departure_timeout": "spec.room.departureTimeoutSeconds",
    "room.enable_remote_unmute": "spec.room.enableRemoteUnmute",
    "room.playout_delay": "spec.room.playoutDelay",
    "room.sync_streams": "spec.room.syncStreams",
    # Deprecated, and still stronger than those of `limit`.
    "room.max_metadata_size": "spec.limits.metadataBytes",
    "room.max_room_name_length": "spec.limits.roomNameLength",
    "room.max_participant_identity_length": "spec.limits.identityLength",
    "turn.enabled": "spec.turn",
    "turn.domain": "spec.turn.domain",
    "turn.cert_file": "spec.turn.tls.certificate",
    "turn.key_file": "spec.turn.tls.certificate",
    "turn.tls_port": "spec.turn.tls.port",
    "turn.udp_port": "spec.turn.udpPort",
    "turn.relay_range_start": "spec.turn.relayRange",
    "turn.relay_range_end": "spec.turn.relayRange",
    "turn.external_tls": "spec.turn.tls.external",
    "turn.ttl_seconds": "spec.turn.ttlSeconds",
    "turn.allow_restricted_peer_cidrs": "spec.turn.allowedPeerCidrs",
    "turn.deny_peer_cidrs": "spec.turn.deniedPeerCidrs",
    "webhook.urls": "spec.webhooks.urls",
    "webhook.api_key": "spec.keysSecretRef",
    "webhook.filter_params": "spec.webhooks.excludeEvents",
    "node_selector": "spec.nodeSelection",
    "keys": "spec.keysSecretRef",
    "key_file": "spec.keysSecretRef",
    "region": "spec.region",
    "log_level": "spec.logging.level",
    "logging.json": "spec.logging.json",
    "logging.level": "spec.logging.level",
    "logging.pion_level": "spec.logging.pionLevel",
    "limit.num_tracks": "spec.limits.tracks",
    "limit.bytes_per_sec": "spec.limits.bytesPerSecond",
    "limit.subscription_limit_video": "spec.limits.videoSubscriptions",
    "limit.subscription_limit_audio": "spec.limits.audioSubscriptions",
    "limit.max_metadata_size": "spec.limits.metadataBytes",
    "limit.max_attributes_size": "spec.limits.attributesBytes",
    "limit.max_room_name_length": "spec.limits.roomNameLength",
    "limit.max_participant_identity_length": "spec.limits.identityLength",
    "limit.max_participant_name_length": "spec.limits.participantNameLength",
    "agents.target_load": "spec.agents.targetLoad",
}
# What no field says, and would undo what the operator relies on.
_REFUSED: Final[Mapping[str, str]] = {
    "development": "it changes ports and opens debugging pages to everybody who reaches the signalling port",
    "rtc.use_stun_port_as_ice": "it takes port 3478, which is no port of spec.media, and spec.turn's",
    # The health check fails when statistics are older than 4 s (pkg/service/server.go healthCheck).
    "node_stats.stats_update_interval": "servers that look at themselves less often are taken for dead",
}
_SECTIONS: Final = frozenset(path.partition(".")[0] for path in (*_OWNERS, *_REFUSED) if "." in path)
# The user chooses the names in these.
_FREE_NAMES: Final = frozenset({"room.room_configurations", "logging.component_levels"})

_NO_SECRETS = "a configuration holds no secrets"
_SECRET_PARTS = ("secret", "password", "passwd", "passphrase", "credential", "token", "authorization")
_SECRET_ENDINGS = ("key", "keys")
_URL_WITH_USER = re.compile(r"^[a-z][a-z0-9+.-]*://[^/?#@\s]*@", re.IGNORECASE)


def find_forbidden(extra_config: Mapping[str, Any]) -> list[str]:
    """Return what `extraConfig` must not say, each as `extraConfig.<path>: <what to do>`.

    That is what other fields say, what Services, keys or rollouts would break by, and anything that holds a secret.
    """
    return [f"extraConfig.{path}: {why}" for path, why in _forbidden(extra_config, "")]


def _forbidden(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            inner = f"{path}.{key}" if path else str(key)
            why = _why_not(inner, "" if path in _FREE_NAMES else str(key), item)
            if why:
                yield inner, why
            else:
                yield from _forbidden(item, inner)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _forbidden(item, f"{path}[{index}]")
    elif isinstance(value, str) and _URL_WITH_USER.match(value):
        yield path, f"{_NO_SECRETS}, and this URL names a user"


def _why_not(path: str, name: str, value: Any) -> str | None:
    """Return why the configuration must not have this, None when it may; what is inside has its own answer."""
    if owner := _OWNERS.get(path):
        return f"set {owner} instead"
    if reason := _REFUSED.get(path):
        return reason
    if path in _SECTIONS and not isinstance(value, dict):
        return "must be an object, or it would replace what other fields say"
    if _names_secret(name):
        if path.startswith("rtc.turn_servers"):
            return f"{_NO_SECRETS}: set spec.media.turnServers instead, whose credentials are in a Secret"
        return f"{_NO_SECRETS}; livekit-server reads some from files, which podTemplate.volumes can bring"
    return None


def _names_secret(name: str) -> bool:
    """Return whether a secret would stand under this name; the path of a file with a secret is none."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain.endswith("file"):
        return False
    return plain.endswith(_SECRET_ENDINGS) or any(part in plain for part in _SECRET_PARTS)
