"""livekit-server's configuration file.

The file holds neither keys nor secrets: passwords come by the environment, certificates and API keys in files of their
own. What differs from server to server comes by the environment too: with NodePort UDP_PORT, LIVEKIT_RTC_TCP_PORT and
LIVEKIT_TURN_UDP_PORT, and always NODE_IP. Variables win over the file (pkg/config/config.go updateFromCLI).

Settings that are left out and are the server's own defaults are not written, so that the file stays readable.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, get_args

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.server.config import Limits, Logging, NodeSelection, RoomDefaults, WebhookEvent
from livekit_operator.api.server.media import TurnServer
from livekit_operator.api.server.redis import RedisTls
from livekit_operator.errors import Blocked, Problem
from livekit_operator.servers.decisions.extra_config import find_forbidden
from livekit_operator.servers.manifests.managed_redis import redis_name
from livekit_operator.servers.manifests.media import spec_ports
from livekit_operator.servers.manifests.secret_inputs import (
    CA_FILE,
    REDIS_CA_FOLDER,
    REDIS_CLIENT_FOLDER,
    TLS_CERTIFICATE,
    TLS_KEY,
    TURN_FOLDER,
    from_variable,
    turn_variable,
)
from livekit_operator.servers.manifests.versions import require_known

Section = dict[str, Any]

# Workers report load = sessions / capacity and take sessions until it is 1.0. livekit-server picks only workers below
# its own target, 0.7 by default (pkg/agent/config.go), and with one in between says "no servers available".
AGENT_LOAD_THRESHOLD: Final = 1.0
DEFAULT_METRICS_PORT: Final = 6789
# Where nobody asks for metrics the first of these is taken that nothing else has.
_METRICS_PORTS: Final = (*range(DEFAULT_METRICS_PORT, 65536), *range(1024, DEFAULT_METRICS_PORT))

KEY_FILE: Final = "/etc/livekit-keys/keys.yaml"
# What the operator acts upon. Nothing else is sent where nobody else listens: each room and track would cost a request.
_HEARD_EVENTS: Final = frozenset(
    {"room_finished", "participant_joined", "participant_left", "participant_connection_aborted"}
)


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
        raise Blocked(
            Problem(
                reasons.CONFIG_REJECTED, f"livekit-server is not given this: {'; '.join(forbidden)}. Correct these."
            )
        )
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
        "username": from_variable(turn_variable(number, "USERNAME")),
        "credential": from_variable(turn_variable(number, "PASSWORD")),
    }


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
            "cert_file": f"{TURN_FOLDER}/{TLS_CERTIFICATE}" if tls and tls.certificate else None,
            "key_file": f"{TURN_FOLDER}/{TLS_KEY}" if tls and tls.certificate else None,
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
            "ca_cert_file": f"{REDIS_CA_FOLDER}/{CA_FILE}" if tls.ca_secret_ref else None,
            "client_cert_file": f"{REDIS_CLIENT_FOLDER}/{TLS_CERTIFICATE}" if client else None,
            "client_key_file": f"{REDIS_CLIENT_FOLDER}/{TLS_KEY}" if client else None,
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
