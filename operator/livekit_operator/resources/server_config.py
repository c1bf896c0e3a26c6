"""livekit-server's configuration file, and what it reads at its start out of Secrets.

The file holds neither keys nor secrets: passwords come by the environment, certificates and API keys in files of their
own. What differs from server to server comes by the environment too: with NodePort UDP_PORT, LIVEKIT_RTC_TCP_PORT and
LIVEKIT_TURN_UDP_PORT, and always NODE_IP. Variables win over the file (pkg/config/config.go updateFromCLI).

Settings that are left out and are the server's own defaults are not written, so that the file stays readable.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.media import TurnServer
from livekit_operator.api.redis import RedisTls
from livekit_operator.api.server_config import Limits, Logging, NodeSelection, RoomDefaults, WebhookEvent
from livekit_operator.errors import Blocked
from livekit_operator.resources.managed_redis import KEY_PASSWORD, redis_name
from livekit_operator.resources.metadata import Manifest, secret_variable
from livekit_operator.resources.server_network import spec_ports, turn_certificate_secret
from livekit_operator.resources.server_versions import require_known

Section = dict[str, Any]

# Workers report load = sessions / capacity and take sessions until it is 1.0. livekit-server picks only workers below
# its own target, 0.7 by default (pkg/agent/config.go), and with one in between says "no servers available".
AGENT_LOAD_THRESHOLD: Final = 1.0
DEFAULT_METRICS_PORT: Final = 6789
# Where nobody asks for metrics the first of these is taken that nothing else has.
_METRICS_PORTS: Final = (*range(DEFAULT_METRICS_PORT, 65536), *range(1024, DEFAULT_METRICS_PORT))

# What can stand in a text of YAML between single quotes as it is.
_QUOTABLE: Final = re.compile(rb"[\x20-\x26\x28-\x7e]{1,512}")

KEY_FILE: Final = "/etc/livekit-keys/keys.yaml"
_TURN_FOLDER: Final = "/etc/livekit-turn"
_REDIS_CA_FOLDER: Final = "/etc/livekit-redis-ca"
_REDIS_CLIENT_FOLDER: Final = "/etc/livekit-redis-client"
_CA_FILE: Final = "ca.crt"
# Keys of a Secret of type kubernetes.io/tls, and their names as files.
_TLS_CERTIFICATE, _TLS_KEY = "tls.crt", "tls.key"
_SECRET_FILE_MODE: Final = 0o440
# What the operator acts upon. Nothing else is sent where nobody else listens: each room and track would cost a request.
_HEARD_EVENTS: Final = frozenset(
    {"room_finished", "participant_joined", "participant_left", "participant_connection_aborted"}
)


# --- The configuration file -------------------------------------------------------------------------------------------


def build_config(
    server: LiveKitServer,
    *,
    operator_webhook_url: str | None,
    redis_address: str | None,
) -> Section:
    """Return the configuration file as plain values.

    `redis_address` (`host:port`) is that of a managed Redis.

    Raises Blocked when `extraConfig` says what it must not, or the server's version is too old for what is asked.
    Source of names and defaults: pkg/config/config.go of livekit-server, pkg/rtcconfig of mediatransportutil, redis and
    xtls of protocol.
    """
    spec = server.spec
    forbidden = find_forbidden(spec.extra_config)
    if spec.media.turn_servers and "turn_servers" in (spec.extra_config.get("rtc") or {}):
        forbidden.append(
            "extraConfig.rtc.turn_servers: it would replace those of spec.media.turnServers; put them there"
        )
    if forbidden:
        raise Blocked("ConfigRejected", f"livekit-server is not given this: {'; '.join(forbidden)}. Correct these.")
    sections: Section = {
        "port": spec.signal.port,
        "bind_addresses": list(spec.signal.bind_addresses),
        "key_file": KEY_FILE,
        "region": spec.region,
        "rtc": _rtc(server),
        "turn": _turn(server),
        "redis": _redis(server, redis_address),
        "room": _room(spec.room),
        "limit": _limit(spec.limits),
        "node_selector": _node_selector(spec.node_selection),
        "agents": {"target_load": target_load(server)},
        "webhook": _webhook(server, operator_webhook_url),
        "logging": _logging(spec.logging),
        "prometheus": _without_nothing({"port": metrics_port(server)}),
    }
    written = _without_nothing(sections)
    require_known(server, written)
    return _merged(written, spec.extra_config)


def target_load(server: LiveKitServer) -> float:
    """Return the load from which on the server offers a worker no more calls, never below any worker's own.

    More than 1 would not help: among the workers it chooses by 1 - load (pkg/service/agentservice.go
    selectWorkerWeightedByLoad).
    """
    return max(server.spec.agents.target_load or AGENT_LOAD_THRESHOLD, AGENT_LOAD_THRESHOLD)


def metrics_port(server: LiveKitServer) -> int | None:
    """Return the port of the server's metrics, None when it has none.

    Servers that share rooms have it unasked: any of them lists the rooms of all, and only its metrics speak of itself.
    """
    if server.spec.prometheus:
        return server.spec.prometheus.port
    if server.spec.redis is None:
        return None
    spec, given = server.spec, server.spec.media.node_ports
    taken = {spec.signal.port, spec_ports(server).tcp, spec.turn.tls.port if spec.turn and spec.turn.tls else 0}
    node_ports = range(given.start, given.end + 1) if given else range(0)
    free = (port for port in _METRICS_PORTS if port not in taken and port not in node_ports)
    return next(free, DEFAULT_METRICS_PORT)


def _rtc(server: LiveKitServer) -> Section:
    media = server.spec.media
    found = media.discover_external_ip
    return _without_nothing(
        {
            **_media_ports(server),
            "use_external_ip": found or None,
            # A pod's packets to its node's public address need not come back; they are no proof of anything.
            "skip_external_ip_validation": True if found and media.exposure == "NodePort" else None,
            "stun_servers": list(media.stun_servers),
            "turn_servers": [_turn_server(number, one) for number, one in enumerate(media.turn_servers)],
            "advertise_internal_ip": media.advertise_internal_ip or None,
            "use_ice_lite": media.ice_lite or None,
            "interfaces": media.interfaces and _without_nothing(media.interfaces.model_dump()),
            "ips": media.ips and _without_nothing(media.ips.model_dump()),
            "allow_tcp_fallback": None if media.allow_tcp_fallback else False,
        }
    )


def _turn_server(number: int, server: TurnServer) -> Section:
    """Return one of `rtc.turn_servers`; the kubelet puts in what is in a Secret."""
    return {
        "host": server.host,
        "port": server.port,
        "protocol": server.protocol,
        "username": from_variable(_turn_variable(number, "USERNAME")),
        "credential": from_variable(_turn_variable(number, "PASSWORD")),
    }


def from_variable(name: str) -> str:
    """Return what stands in the configuration for a variable's value, which the kubelet puts in.

    YAML puts a text that begins like this between single quotes, where any other character stands for itself.
    """
    return f"@variable:{name}@"


def _turn_variable(number: int, name: str) -> str:
    return f"TURN_SERVER_{number}_{name}"


def _media_ports(server: LiveKitServer) -> Section:
    """Return the ports of media; none with NodePort, where each server has its own by the environment."""
    media = server.spec.media
    if media.exposure == "NodePort":
        return {}
    ports = spec_ports(server)
    start, end = ports.udp
    if _is_shared_by_all(server):
        # A range of one port is refused (rtcconfig PortRange.UnmarshalString).
        udp: Section = {"udp_port": start if start == end else f"{start}-{end}"}
    else:
        udp = {"port_range_start": start, "port_range_end": end}
    return {**udp, "tcp_port": ports.tcp or 0}


def _is_shared_by_all(server: LiveKitServer) -> bool:
    """Return whether all participants share the UDP ports."""
    media = server.spec.media
    return media.udp.mux_ports is not None if media.udp else media.exposure == "LoadBalancer"


def _turn(server: LiveKitServer) -> Section | None:
    turn = server.spec.turn
    if turn is None:
        return None
    tls = turn.tls
    node_ip = server.spec.media.node_ip
    return _without_nothing(
        {
            "enabled": True,
            "domain": turn.domain,
            "udp_port": _turn_udp_port(server),
            "tls_port": tls.port if tls else None,
            "external_tls": True if tls and tls.external else None,
            "cert_file": f"{_TURN_FOLDER}/{_TLS_CERTIFICATE}" if tls and tls.certificate else None,
            "key_file": f"{_TURN_FOLDER}/{_TLS_KEY}" if tls and tls.certificate else None,
            "relay_range_start": turn.relay_range.start,
            "relay_range_end": turn.relay_range.end,
            "ttl_seconds": turn.ttl_seconds if turn.ttl_seconds != 300 else None,
            "allow_restricted_peer_cidrs": list(turn.allowed_peer_cidrs),
            "deny_peer_cidrs": list(turn.denied_peer_cidrs),
            # Relays need a node address of the family that is listened on (pkg/service/turn.go), IPv4 by default.
            "bind_addresses": ["::"] if node_ip and ":" in node_ip else None,
        }
    )


def _turn_udp_port(server: LiveKitServer) -> int | None:
    """Return the port of TURN over UDP; None without it, and with NodePort, where each server has its own."""
    return None if server.spec.media.exposure == "NodePort" else spec_ports(server).turn_udp


def _redis(server: LiveKitServer, managed_address: str | None) -> Section | None:
    redis = server.spec.redis
    if redis is None:
        return None
    section: Section = {
        "address": managed_address if redis.managed else redis.address,
        "username": redis.username,
        "db": redis.db or None,
        "tls": redis.tls and _redis_tls(redis.tls),
    }
    if redis.sentinel:
        section["sentinel_master_name"] = redis.sentinel.master_name
        section["sentinel_addresses"] = list(redis.sentinel.addresses)
        section["sentinel_username"] = redis.sentinel.username
    if redis.cluster:
        section["cluster_addresses"] = list(redis.cluster.addresses)
    return _without_nothing(section)


def _redis_tls(tls: RedisTls) -> Section:
    client = tls.client_certificate_secret_ref
    return _without_nothing(
        {
            "enabled": True,
            "server_name": tls.server_name,
            "ca_cert_file": f"{_REDIS_CA_FOLDER}/{_CA_FILE}" if tls.ca_secret_ref else None,
            "client_cert_file": f"{_REDIS_CLIENT_FOLDER}/{_TLS_CERTIFICATE}" if client else None,
            "client_key_file": f"{_REDIS_CLIENT_FOLDER}/{_TLS_KEY}" if client else None,
            "insecure": tls.insecure_skip_verify or None,
        }
    )


def _room(room: RoomDefaults) -> Section:
    delay = room.playout_delay
    changed = _changed(
        room,
        auto_create="auto_create",
        empty_timeout_seconds="empty_timeout",
        departure_timeout_seconds="departure_timeout",
        max_participants="max_participants",
        enable_remote_unmute="enable_remote_unmute",
        sync_streams="sync_streams",
    )
    codecs = [_without_nothing({"mime": c.mime, "fmtp_line": c.fmtp_line}) for c in room.enabled_codecs]
    delays = {"enabled": True, "min": delay.min_ms, "max": delay.max_ms} if delay else None
    return _without_nothing({**changed, "enabled_codecs": codecs, "playout_delay": delays})


def _limit(limits: Limits) -> Section:
    return _changed(
        limits,
        tracks="num_tracks",
        bytes_per_second="bytes_per_sec",
        video_subscriptions="subscription_limit_video",
        audio_subscriptions="subscription_limit_audio",
        metadata_bytes="max_metadata_size",
        attributes_bytes="max_attributes_size",
        room_name_length="max_room_name_length",
        identity_length="max_participant_identity_length",
        participant_name_length="max_participant_name_length",
    )


def _node_selector(selection: NodeSelection) -> Section:
    changed = _changed(
        selection,
        kind="kind",
        sort_by="sort_by",
        algorithm="algorithm",
        cpu_load_limit="cpu_load_limit",
        sysload_limit="sysload_limit",
    )
    regions = [{"name": r.name, "lat": r.latitude, "lon": r.longitude} for r in selection.regions]
    return _without_nothing({**changed, "regions": regions})


def _webhook(server: LiveKitServer, operator_url: str | None) -> Section:
    webhooks = server.spec.webhooks
    urls = [url for url in (operator_url, *webhooks.urls) if url]
    unheard: set[str] = set(webhooks.exclude_events)
    if operator_url and not webhooks.urls:
        unheard |= set(get_args(WebhookEvent)) - _HEARD_EVENTS
    excluded = {"exclude_events": sorted(unheard)} if unheard else None
    return _without_nothing({"urls": list(dict.fromkeys(urls)), "filter_params": excluded})


def _logging(logging: Logging) -> Section:
    changed = _changed(logging, pion_level="pion_level")
    # The server's own format is for terminals; its own level is "info" by having none.
    return {"json": logging.json_format, "level": logging.level, **changed}


def _changed(model: Limits | Logging | NodeSelection | RoomDefaults, **names: str) -> Section:
    """Return the fields that are not at their defaults, which are the server's own, by the names it has for them."""
    values = model.model_dump(include=set(names), exclude_defaults=True)
    return {name: values[field] for field, name in names.items() if field in values}


def _without_nothing(section: Mapping[str, Any]) -> Section:
    """Return a section without entries that are None or empty; 0 and False stay."""
    return {key: value for key, value in section.items() if value is not None and value not in ({}, [])}


def _merged(base: Mapping[str, Any], extra: Mapping[str, Any]) -> Section:
    """Return `base` with `extra` merged into it: dicts merge, everything else replaces."""
    merged = dict(base)
    for key, value in extra.items():
        mine = merged.get(key)
        if isinstance(mine, dict) and isinstance(value, dict):
            merged[key] = _merged(mine, value)
        else:
            merged[key] = _with_numbers_as_keys(value)
    return merged


def _with_numbers_as_keys(value: Any) -> Any:
    """Return a value in which keys that are whole numbers are numbers, as the server's tables of layers need them.

    In JSON, which resources are sent in, every key is a text; a table whose keys are texts takes numbers as well.
    """
    if isinstance(value, dict):
        numbers = all(re.fullmatch(r"0|-?[1-9][0-9]{0,9}", key) for key in value)
        return {int(key) if numbers else key: _with_numbers_as_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_numbers_as_keys(item) for item in value]
    return value


# --- What extraConfig must not say ------------------------------------------------------------------------------------

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


# --- What servers read out of Secrets ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class SecretInput:
    """Values of a Secret that servers read at their start, and the field that asks for them."""

    name: str
    keys: tuple[str, ...]
    field: str
    quoted: bool = False
    """Whether the values become part of the configuration's text."""


def require_quotable(source: SecretInput, key: str, value: bytes) -> None:
    """Raise Blocked when a value would break out of the configuration's text that it is put into."""
    if not _QUOTABLE.fullmatch(value):
        message = (
            f"{key} of Secret {source.name}, which {source.field} names, cannot stand in a configuration: choose one "
            f"of 1 to 512 printable ASCII characters without single quotes."
        )
        raise Blocked("SecretInvalid", message, retry_after=10.0)


def managed_redis_secret_name(server: LiveKitServer) -> str:
    """Return the name of the Secret with the password of the managed Redis."""
    return redis_name(server)


def secret_environment(server: LiveKitServer) -> list[Manifest]:
    """Return the container's variables whose values are in Secrets."""
    return [secret_variable(variable, source.name, key) for variable, key, source in _variables(server)]


def secret_volumes(server: LiveKitServer) -> tuple[list[Manifest], list[Manifest]]:
    """Return the volumes of Secrets that the configuration names files of, and their mounts."""
    volumes: list[Manifest] = []
    mounts: list[Manifest] = []
    for volume, folder, files, source in _files(server):
        items = [{"key": key, "path": path} for key, path in zip(source.keys, files, strict=True)]
        secret = {"secretName": source.name, "defaultMode": _SECRET_FILE_MODE, "items": items}
        volumes.append({"name": volume, "secret": secret})
        mounts.append({"name": volume, "mountPath": folder, "readOnly": True})
    return volumes, mounts


def secret_inputs(server: LiveKitServer) -> list[SecretInput]:
    """Return everything but the API keys that servers read at their start out of Secrets.

    A change of any of it needs new servers: they never read again. The Secret of a managed Redis is among them.
    """
    # One entry for user name and password of the metrics, which are of one Secret.
    variables = dict.fromkeys(source for _, _, source in _variables(server))
    return [*variables, *(source for *_, source in _files(server))]


def _variables(server: LiveKitServer) -> Iterator[tuple[str, str, SecretInput]]:
    """Yield (variable, key of the Secret, where it is from).

    Source of the names: cmd/server/main.go, and for generated ones pkg/config/config.go GenerateCLIFlags.
    """
    redis, prometheus = server.spec.redis, server.spec.prometheus
    if redis and redis.managed:
        source = SecretInput(managed_redis_secret_name(server), (KEY_PASSWORD,), "spec.redis.managed")
        yield "REDIS_PASSWORD", KEY_PASSWORD, source
    if redis and (ref := redis.password_secret_ref):
        yield "REDIS_PASSWORD", ref.key, SecretInput(ref.name, (ref.key,), "spec.redis.passwordSecretRef")
    if redis and redis.sentinel and (ref := redis.sentinel.password_secret_ref):
        source = SecretInput(ref.name, (ref.key,), "spec.redis.sentinel.passwordSecretRef")
        yield "LIVEKIT_REDIS_SENTINEL_PASSWORD", ref.key, source
    for number, turn in enumerate(server.spec.media.turn_servers):
        field = f"spec.media.turnServers[{number}].credentialsSecretRef"
        source = SecretInput(turn.credentials_secret_ref.name, ("username", "password"), field, quoted=True)
        yield _turn_variable(number, "USERNAME"), "username", source
        yield _turn_variable(number, "PASSWORD"), "password", source
    if prometheus and (credentials := prometheus.credentials_secret_ref):
        source = SecretInput(credentials.name, ("username", "password"), "spec.prometheus.credentialsSecretRef")
        yield "LIVEKIT_PROMETHEUS_USERNAME", "username", source
        yield "LIVEKIT_PROMETHEUS_PASSWORD", "password", source


def _files(server: LiveKitServer) -> Iterator[tuple[str, str, tuple[str, ...], SecretInput]]:
    """Yield (volume, folder, names of the files, where they are from)."""
    pair = (_TLS_CERTIFICATE, _TLS_KEY)
    turn_tls = server.spec.turn and server.spec.turn.tls
    name = turn_certificate_secret(server)
    if turn_tls and turn_tls.certificate and name:
        field = "secretName" if turn_tls.certificate.secret_name else "issuerRef"
        source = SecretInput(name, pair, f"spec.turn.tls.certificate.{field}")
        yield "turn-certificate", _TURN_FOLDER, pair, source
    tls = server.spec.redis and server.spec.redis.tls
    if tls and (ca := tls.ca_secret_ref):
        source = SecretInput(ca.name, (ca.key,), "spec.redis.tls.caSecretRef")
        yield "redis-ca", _REDIS_CA_FOLDER, (_CA_FILE,), source
    if tls and (client := tls.client_certificate_secret_ref):
        source = SecretInput(client.name, pair, "spec.redis.tls.clientCertificateSecretRef")
        yield "redis-client-certificate", _REDIS_CLIENT_FOLDER, pair, source


# --- What servers listen on, and what is told of Redis ----------------------------------------------------------------


def host_ports(server: LiveKitServer) -> list[tuple[str, str, int, int]]:
    """Return what a server listens on where its own configuration says it: (name, protocol, first, last port).

    With NodePort media's ports are not among them: each server has its own. TURN's relays are, which take ports of
    their range as they are needed.
    """
    spec = server.spec
    ports = [("signal", "TCP", spec.signal.port, spec.signal.port)]
    if spec.media.exposure != "NodePort":
        media = spec_ports(server)
        ports.append(("media", "UDP", *media.udp))
        ports += [("ice-tcp", "TCP", media.tcp, media.tcp)] if media.tcp else []
    if turn_udp := _turn_udp_port(server):
        ports.append(("turn-udp", "UDP", turn_udp, turn_udp))
    if spec.turn and spec.turn.tls:
        ports.append(("turn-tls", "TCP", spec.turn.tls.port, spec.turn.tls.port))
    if spec.turn:
        ports.append(("turn-relay", "UDP", spec.turn.relay_range.start, spec.turn.relay_range.end))
    if metrics := metrics_port(server):
        ports.append(("metrics", "TCP", metrics, metrics))
    return ports


def single_ports(server: LiveKitServer) -> list[tuple[str, str, int]]:
    """Return the ports of `host_ports` that are no ranges, as a container names them: (name, protocol, port)."""
    return [(name, protocol, start) for name, protocol, start, end in host_ports(server) if start == end]


def redis_description(server: LiveKitServer) -> str | None:
    """Return which Redis is used, without its credentials; None without one."""
    redis = server.spec.redis
    if redis is None:
        return None
    if redis.managed:
        return f"managed: {redis_name(server)}"
    if redis.sentinel:
        return f"sentinel: {redis.sentinel.master_name} of {', '.join(redis.sentinel.addresses)}"
    if redis.cluster:
        return f"cluster: {', '.join(redis.cluster.addresses)}"
    return redis.address
