"""What the configuration says is known to the livekit-server that reads it, or refused in the resource's words."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from livekit_operator.errors import Blocked
from livekit_operator.servers.manifests import config as server_config
from livekit_operator.servers.manifests import versions
from livekit_operator.servers.manifests.pod import ServerInputs, SlotInputs, build_pod
from tests.fakes import models
from tests.unit.operator.servers.manifests.configurations import LIMITS, REDIS_TLS, SENTINEL

# Every key that livekit-server v1.11.0 knows and a resource can come to: read at that tag out of pkg/config/config.go,
# pkg/agent/config.go, and of redis, webhook, xtls and logger in protocol and rtcconfig in mediatransportutil as go.mod
# names them there.
_KEYS = """
    port bind_addresses key_file region
    rtc.udp_port rtc.port_range_start rtc.port_range_end rtc.tcp_port rtc.use_external_ip rtc.stun_servers
    rtc.use_ice_lite rtc.interfaces.includes rtc.interfaces.excludes rtc.ips.includes rtc.ips.excludes
    rtc.allow_tcp_fallback
    turn.enabled turn.domain turn.cert_file turn.key_file turn.tls_port turn.udp_port turn.relay_range_start
    turn.relay_range_end turn.external_tls turn.bind_addresses
    redis.address redis.username redis.db redis.sentinel_master_name redis.sentinel_addresses redis.sentinel_username
    redis.cluster_addresses redis.tls.enabled redis.tls.server_name redis.tls.ca_cert_file redis.tls.client_cert_file
    redis.tls.client_key_file redis.tls.insecure
    room.auto_create room.empty_timeout room.departure_timeout room.max_participants room.enable_remote_unmute
    room.sync_streams room.enabled_codecs.mime room.enabled_codecs.fmtp_line room.playout_delay.enabled
    room.playout_delay.min room.playout_delay.max
    limit.num_tracks limit.bytes_per_sec limit.subscription_limit_video limit.subscription_limit_audio
    limit.max_metadata_size limit.max_attributes_size limit.max_room_name_length
    limit.max_participant_identity_length limit.max_participant_name_length
    node_selector.kind node_selector.sort_by node_selector.algorithm node_selector.cpu_load_limit
    node_selector.sysload_limit node_selector.regions.name node_selector.regions.lat node_selector.regions.lon
    agents.target_load webhook.urls webhook.filter_params.exclude_events
    logging.json logging.level logging.pion_level prometheus.port
    """
KNOWN_TO_THE_OLDEST = frozenset(_KEYS.split())
OLDEST = versions.shown(versions.OLDEST)

MUCH: list[dict[str, Any]] = [
    {
        "media": {
            "udp": {"muxPorts": {"start": 7882, "end": 7885}},
            "discoverExternalIp": True,
            "stunServers": ["stun.example.com:3478"],
            "iceLite": True,
            "interfaces": {"includes": ["eth0"], "excludes": ["eth1"]},
            "ips": {"includes": ["10.0.0.0/8"], "excludes": ["10.1.0.0/16"]},
            "allowTcpFallback": False,
        },
        "signal": {"bindAddresses": ["0.0.0.0"]},
        "turn": {"domain": "turn.example.com", "tls": {"certificate": {"secretName": "turn"}}},
        "redis": REDIS_TLS,
        "room": {
            "autoCreate": False,
            "emptyTimeoutSeconds": 1,
            "departureTimeoutSeconds": 1,
            "maxParticipants": 1,
            "enabledCodecs": [{"mime": "audio/opus", "fmtpLine": "x=1"}],
            "enableRemoteUnmute": True,
            "playoutDelay": {"minMs": 1, "maxMs": 2},
            "syncStreams": True,
        },
        "limits": LIMITS,
        "region": "here",
        "nodeSelection": {
            "kind": "regionaware",
            "sortBy": "rooms",
            "algorithm": "twochoice",
            "cpuLoadLimit": 0.5,
            "sysloadLimit": 0.5,
            "regions": [{"name": "here", "latitude": 1, "longitude": 2}],
        },
        "logging": {"level": "debug", "pionLevel": "info"},
        "prometheus": {"port": 9000},
        "webhooks": {"urls": ["https://app.example.com"], "excludeEvents": ["room_started"]},
    },
    {"redis": SENTINEL, "turn": {}, "media": {"nodeIp": "2001:db8::1"}},
    {"redis": {"cluster": {"addresses": ["a:1"]}}, "turn": {"domain": "t.example.com", "tls": {"external": True}}},
    {"media": {"exposure": "NodePort"}, "turn": {}},
    {},
]


def config(**spec: Any) -> dict[str, Any]:
    return server_config.build_config(models.server(**spec), operator_webhook_url="http://op", redis_address="r:6379")


def paths(value: Any, before: str = "") -> Iterator[str]:
    """Yield the keys of a configuration, those of lists' items without their numbers."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from paths(item, f"{before}.{key}" if before else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for item in value:
            yield from paths(item, before)
    else:
        yield before


@pytest.mark.parametrize("spec", MUCH, ids=range(len(MUCH)))
def test_the_oldest_server_knows_all_that_is_written_for_it(spec: dict[str, Any]) -> None:
    assert set(paths(config(version=OLDEST, **spec))) <= KNOWN_TO_THE_OLDEST


def test_every_key_is_looked_at() -> None:
    written = {path for spec in MUCH for path in paths(config(version=OLDEST, **spec))}
    assert written == KNOWN_TO_THE_OLDEST


@pytest.mark.parametrize("version", ["v1.10.1", "v1.9.12", "v0.99.99", "v1.10.1-rc1"])
def test_an_older_server_is_refused_with_the_field_and_the_version_that_is_needed(version: str) -> None:
    with pytest.raises(Blocked) as refused:
        config(version=version)
    assert refused.value.problem.reason == "VersionTooOld"
    assert refused.value.problem.message.startswith(f"spec.version {version} is older than {OLDEST}")


@pytest.mark.parametrize(
    ("spec", "since", "field"),
    [
        ({"turn": {"allowedPeerCidrs": ["10.0.0.0/8"]}}, "v1.12.0", "spec.turn.allowedPeerCidrs"),
        ({"turn": {"deniedPeerCidrs": ["10.0.0.0/8"]}}, "v1.12.0", "spec.turn.deniedPeerCidrs"),
        ({"turn": {"ttlSeconds": 60}}, "v1.12.0", "spec.turn.ttlSeconds"),
        (
            {"media": {"discoverExternalIp": True, "advertiseInternalIp": True}},
            "v1.13.0",
            "spec.media.advertiseInternalIp",
        ),
    ],
)
def test_a_field_that_the_version_does_not_know_is_named(spec: dict[str, Any], since: str, field: str) -> None:
    assert config(version=since, **spec)
    with pytest.raises(Blocked, match=f"spec.version is {OLDEST}, and {field} needs {since}"):
        config(version=OLDEST, **spec)


@pytest.mark.parametrize("version", ["v1.11.0", "v1.11.0-rc2", "v1.12.3", "v1.13.5", "v2.0.0"])
def test_newer_servers_are_taken(version: str) -> None:
    assert config(version=version)["agents"] == {"target_load": 1.0}


@pytest.mark.parametrize(("version", "written"), [("v1.11.0", False), ("v1.12.0", True)])
def test_turn_is_told_of_its_servers_own_address_where_it_refuses_private_ones(version: str, written: bool) -> None:
    spec: dict[str, Any] = {"version": version, "turn": {}}
    inputs = ServerInputs("image:1", config(**spec), "k", "s")
    (container,) = build_pod(models.server(**spec), inputs, SlotInputs(0), serving=True)["spec"]["containers"]
    text = next(variable["value"] for variable in container["env"] if variable["name"] == "LIVEKIT_CONFIG")
    assert ("allow_restricted_peer_cidrs" in text) is written
