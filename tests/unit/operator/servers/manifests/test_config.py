"""livekit-server's configuration: every field at its place, and no secret in it."""

from typing import Any

import pytest
import yaml

from livekit_operator.errors import Blocked
from livekit_operator.servers.manifests import config as server_config
from tests.fakes import models
from tests.unit.operator.servers.manifests.configurations import LIMITS, LOGIN, TURN_TLS, config

TLS_6790 = {"tls": {"external": True, "port": 6790}}


def test_a_small_server_has_a_small_file() -> None:
    assert config() == {
        "port": 7880,
        "key_file": "/etc/livekit-keys/keys.yaml",
        "rtc": {"port_range_start": 50100, "port_range_end": 50200, "tcp_port": 7881},
        "agents": {"target_load": 1.0},
        "logging": {"json": True, "level": "info"},
    }


@pytest.mark.parametrize(
    ("media", "rtc"),
    [
        pytest.param(
            {"udp": {"portRange": {"start": 1, "end": 2}}, "tcpPort": 3},
            {"port_range_start": 1, "port_range_end": 2, "tcp_port": 3},
            id="a range",
        ),
        pytest.param(
            {"udp": {"muxPorts": {"start": 7882, "end": 7885}}},
            {"udp_port": "7882-7885", "tcp_port": 7881},
            id="shared",
        ),
        pytest.param(
            {"udp": {"muxPorts": {"start": 7882, "end": 7882}}}, {"udp_port": 7882, "tcp_port": 7881}, id="one shared"
        ),
        pytest.param({"exposure": "LoadBalancer"}, {"udp_port": 7882, "tcp_port": 7881}, id="load balancer"),
        pytest.param({"exposure": "NodePort"}, None, id="node ports come by the environment"),
        pytest.param(
            {"exposure": "NodePort", "nodeIp": "192.0.2.1", "iceLite": True},
            {"use_ice_lite": True},
            id="an address comes by the environment",
        ),
        pytest.param(
            {
                "discoverExternalIp": True,
                "stunServers": ["stun.example.com:3478"],
                "advertiseInternalIp": True,
                "interfaces": {"includes": ["eth0"]},
                "ips": {"includes": [], "excludes": ["10.0.0.0/8"]},
                "allowTcpFallback": False,
            },
            {
                "port_range_start": 50100,
                "port_range_end": 50200,
                "tcp_port": 7881,
                "use_external_ip": True,
                "stun_servers": ["stun.example.com:3478"],
                "advertise_internal_ip": True,
                "interfaces": {"includes": ["eth0"]},
                "ips": {"excludes": ["10.0.0.0/8"]},
                "allow_tcp_fallback": False,
            },
            id="behind a NAT",
        ),
    ],
)
def test_media(media: dict[str, Any], rtc: dict[str, Any] | None) -> None:
    assert config(media=media).get("rtc") == rtc


@pytest.mark.parametrize(
    ("spec", "section", "expected"),
    [
        ({"signal": {"port": 7999}}, "port", 7999),
        ({"signal": {"bindAddresses": ["10.0.0.1", "::1"]}}, "bind_addresses", ["10.0.0.1", "::1"]),
        ({"region": "Ünited"}, "region", "Ünited"),
        ({"agents": {"targetLoad": 0.3}}, "agents", {"target_load": 1.0}),
        ({"agents": {"targetLoad": 1.5}}, "agents", {"target_load": 1.5}),
        (
            {"logging": {"level": "warn", "pionLevel": "debug", "json": False}},
            "logging",
            {"json": False, "level": "warn", "pion_level": "debug"},
        ),
        (
            {
                "room": {
                    "autoCreate": False,
                    "emptyTimeoutSeconds": 1,
                    "departureTimeoutSeconds": 2,
                    "maxParticipants": 3,
                }
            },
            "room",
            {"auto_create": False, "empty_timeout": 1, "departure_timeout": 2, "max_participants": 3},
        ),
        (
            {"room": {"enabledCodecs": [{"mime": "audio/opus", "fmtpLine": "x=1"}, {"mime": "video/VP8"}]}},
            "room",
            {"enabled_codecs": [{"mime": "audio/opus", "fmtp_line": "x=1"}, {"mime": "video/VP8"}]},
        ),
        (
            {"room": {"enableRemoteUnmute": True, "syncStreams": True, "playoutDelay": {"minMs": 0, "maxMs": 5}}},
            "room",
            {
                "enable_remote_unmute": True,
                "sync_streams": True,
                "playout_delay": {"enabled": True, "min": 0, "max": 5},
            },
        ),
        ({"room": {"emptyTimeoutSeconds": 300}}, "room", None),
        (
            {"limits": LIMITS},
            "limit",
            {
                "num_tracks": 1,
                "bytes_per_sec": 2,
                "subscription_limit_video": 3,
                "subscription_limit_audio": 4,
                "max_metadata_size": 5,
                "max_attributes_size": 6,
                "max_room_name_length": 7,
                "max_participant_identity_length": 8,
                "max_participant_name_length": 0,
            },
        ),
        (
            {
                "nodeSelection": {
                    "kind": "regionaware",
                    "sortBy": "rooms",
                    "algorithm": "twochoice",
                    "cpuLoadLimit": 0,
                    "sysloadLimit": 2.5,
                    "regions": [{"name": "x", "latitude": -1.5, "longitude": 0}],
                }
            },
            "node_selector",
            {
                "kind": "regionaware",
                "sort_by": "rooms",
                "algorithm": "twochoice",
                "cpu_load_limit": 0.0,
                "sysload_limit": 2.5,
                "regions": [{"name": "x", "lat": -1.5, "lon": 0.0}],
            },
        ),
        ({"prometheus": {}}, "prometheus", {"port": 6789}),
        ({"prometheus": {"port": 9000}, "redis": {"address": "r:1"}}, "prometheus", {"port": 9000}),
        ({"redis": {"address": "r:1"}}, "prometheus", {"port": 6789}),
        ({"redis": {"address": "r:1"}, "media": {"tcpPort": 6789}}, "prometheus", {"port": 6790}),
        (
            {"redis": {"address": "r:1"}, "signal": {"port": 6789}, "turn": {**TLS_6790, "domain": "t.example.com"}},
            "prometheus",
            {"port": 6791},
        ),
        (
            {
                "redis": {"address": "r:1"},
                "media": {"exposure": "NodePort", "nodePorts": {"start": 6780, "end": 6799}},
            },
            "prometheus",
            {"port": 6800},
        ),
    ],
)
def test_the_other_sections(spec: dict[str, Any], section: str, expected: object) -> None:
    assert config(**spec).get(section) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(
            {"turn": {}},
            {"enabled": True, "udp_port": 3478, "relay_range_start": 40000, "relay_range_end": 49999},
            id="UDP",
        ),
        pytest.param(
            {"turn": {"udpPort": 443, "domain": "t.example.com", "relayRange": {"start": 30000, "end": 30001}}},
            {
                "enabled": True,
                "domain": "t.example.com",
                "udp_port": 443,
                "relay_range_start": 30000,
                "relay_range_end": 30001,
            },
            id="UDP on another port",
        ),
        pytest.param(
            {"turn": {}, "media": {"exposure": "NodePort", "nodeIp": "2001:db8::1"}},
            {"enabled": True, "relay_range_start": 40000, "relay_range_end": 49999, "bind_addresses": ["::"]},
            id="a node port comes by the environment",
        ),
        pytest.param(
            {"turn": {**TURN_TLS, "ttlSeconds": 60, "allowedPeerCidrs": ["10.0.0.0/8"], "deniedPeerCidrs": ["::/0"]}},
            {
                "enabled": True,
                "domain": "turn.example.com",
                "tls_port": 5349,
                "cert_file": "/etc/livekit-turn/tls.crt",
                "key_file": "/etc/livekit-turn/tls.key",
                "relay_range_start": 40000,
                "relay_range_end": 49999,
                "ttl_seconds": 60,
                "allow_restricted_peer_cidrs": ["10.0.0.0/8"],
                "deny_peer_cidrs": ["::/0"],
            },
            id="TLS",
        ),
        pytest.param(
            {"turn": {"domain": "t.example.com", "tls": {"external": True, "port": 5000}}},
            {
                "enabled": True,
                "domain": "t.example.com",
                "udp_port": 3478,
                "tls_port": 5000,
                "external_tls": True,
                "relay_range_start": 40000,
                "relay_range_end": 49999,
            },
            id="TLS that ends before",
        ),
    ],
)
def test_turn(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    assert config(**spec)["turn"] == expected


def test_webhooks() -> None:
    spec = {"urls": ["https://a.example.com/x"], "excludeEvents": ["track_published"]}
    assert config("http://operator/x", webhooks=spec)["webhook"] == {
        "urls": ["http://operator/x", "https://a.example.com/x"],
        "filter_params": {"exclude_events": ["track_published"]},
    }
    assert config(webhooks={"urls": ["http://a"]})["webhook"] == {"urls": ["http://a"]}
    assert "webhook" not in config()


def test_the_operator_alone_is_told_only_what_it_acts_upon() -> None:
    found = config("http://operator/x", webhooks={"excludeEvents": ["participant_connection_aborted"]})["webhook"]
    assert found["urls"] == ["http://operator/x"]
    excluded = found["filter_params"]["exclude_events"]
    assert {"room_started", "track_published", "participant_connection_aborted"} <= set(excluded)
    assert not {"room_finished", "participant_joined", "participant_left"} & set(excluded)


def test_extra_config_is_merged_into_what_is_there() -> None:
    extra: dict[str, Any] = {
        "rtc": {
            "packet_buffer_size_audio": 100,
            "turn_servers": [{"host": "t", "secret_file": "/x/y", "username": "u"}],
        },
        "redis": {"pool_size": 5},
        "turn": {"bind_addresses": ["::"]},
        "room": {"room_configurations": {"token-desk": {"max_participants": 2}}},
        "video": {"stream_tracker_manager": {"video": {"packet_tracker": {"0": {"samples_required": 1}}}}},
    }
    found = config(redis={"address": "r:1"}, turn={}, extraConfig=extra)
    assert found["rtc"] == {
        "port_range_start": 50100,
        "port_range_end": 50200,
        "tcp_port": 7881,
        **extra["rtc"],
    }
    assert found["redis"] == {"address": "r:1", "pool_size": 5}
    assert found["turn"]["udp_port"] == 3478
    assert found["turn"]["bind_addresses"] == ["::"]
    assert found["room"] == extra["room"]
    # The server's tables of layers have numbers as keys, which JSON has not.
    assert found["video"] == {"stream_tracker_manager": {"video": {"packet_tracker": {0: {"samples_required": 1}}}}}


def test_a_number_as_a_key_beside_our_own_can_still_be_written() -> None:
    assert yaml.safe_load(yaml.safe_dump(config(extraConfig={"1": 1, "rtc": {"2": 2}})))["rtc"]["2"] == 2


NO_SECRETS = "a configuration holds no secrets"


def test_building_names_all_that_is_forbidden() -> None:
    with pytest.raises(Blocked) as blocked:
        config(extraConfig={"port": 1, "x": {"password": "hunter2"}})
    assert blocked.value.problem.reason == "ConfigRejected"
    assert "extraConfig.port: set spec.signal.port instead" in blocked.value.problem.message
    assert f"extraConfig.x.password: {NO_SECRETS}" in blocked.value.problem.message
    assert "hunter2" not in blocked.value.problem.message


@pytest.mark.parametrize(
    ("spec", "ports"),
    [
        ({}, [("signal", "TCP", 7880, 7880), ("media", "UDP", 50100, 50200), ("ice-tcp", "TCP", 7881, 7881)]),
        ({"media": {"exposure": "NodePort"}, "turn": {}},
         [("signal", "TCP", 7880, 7880), ("turn-relay", "UDP", 40000, 49999)]),
        ({"media": {"exposure": "LoadBalancer"}, "turn": {**TURN_TLS, "udp": True}, "redis": {"address": "r:1"}},
         [("signal", "TCP", 7880, 7880), ("media", "UDP", 7882, 7882), ("ice-tcp", "TCP", 7881, 7881),
          ("turn-udp", "UDP", 3478, 3478), ("turn-tls", "TCP", 5349, 5349), ("turn-relay", "UDP", 40000, 49999),
          ("metrics", "TCP", 6789, 6789)]),
    ],
)  # fmt: skip
def test_what_a_server_listens_on(spec: dict[str, Any], ports: list[tuple[str, str, int, int]]) -> None:
    server = models.server(**spec)
    assert server_config.host_ports(server) == ports
    singles = [(name, protocol, start) for name, protocol, start, end in ports if start == end]
    assert server_config.single_ports(server) == singles


def test_turn_servers_are_said_in_one_place() -> None:
    extra = {"rtc": {"turn_servers": [{"host": "t", "secret_file": "/etc/t"}]}}
    with pytest.raises(Blocked, match=r"it would replace those of spec\.media\.turnServers"):
        config(media={"turnServers": [LOGIN]}, extraConfig=extra)
    assert config(extraConfig=extra)["rtc"]["turn_servers"] == extra["rtc"]["turn_servers"]


def test_servers_on_node_ports_find_the_address_of_their_node() -> None:
    rtc = config(media={"exposure": "NodePort", "discoverExternalIp": True, "advertiseInternalIp": True})["rtc"]
    assert rtc["use_external_ip"] is rtc["advertise_internal_ip"] is rtc["skip_external_ip_validation"] is True
    assert "skip_external_ip_validation" not in config(media={"discoverExternalIp": True})["rtc"]
