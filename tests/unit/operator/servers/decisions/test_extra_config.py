"""What a user's own configuration says that other fields say, or nobody must."""

from typing import Any

import pytest

from livekit_operator.servers.decisions import extra_config


@pytest.mark.parametrize(
    ("extra", "messages"),
    [
        ({}, []),
        ({"rtc": {"udp_port": 1}}, ["extraConfig.rtc.udp_port: set spec.media.udp.muxPorts instead"]),
        ({"rtc": {"node_ip": {"ipv4": "1.2.3.4"}}}, ["extraConfig.rtc.node_ip: set spec.media.nodeIp instead"]),
        ({"rtc": None}, ["extraConfig.rtc: must be an object, or it would replace what other fields say"]),
        ({"turn": []}, ["extraConfig.turn: must be an object, or it would replace what other fields say"]),
        ({"keys": {"a": "b"}}, ["extraConfig.keys: set spec.keysSecretRef instead"]),
        ({"prometheus": None}, ["extraConfig.prometheus: set spec.prometheus instead"]),
        ({"webhook": {"api_key": "x"}}, ["extraConfig.webhook.api_key: set spec.keysSecretRef instead"]),
        ({"redis": {"tls": {"enabled": True}}}, ["extraConfig.redis.tls: set spec.redis.tls instead"]),
        (
            {"room": {"max_metadata_size": 1}, "limit": {"max_data_blobs_size": 1}},
            ["extraConfig.room.max_metadata_size: set spec.limits.metadataBytes instead"],
        ),
        (
            {"port": 1, "agents": {"target_load": 0.1}},
            [
                "extraConfig.port: set spec.signal.port instead",
                "extraConfig.agents.target_load: set spec.agents.targetLoad instead",
            ],
        ),
    ],
)
def test_what_other_fields_say(extra: dict[str, Any], messages: list[str]) -> None:
    assert extra_config.find_forbidden(extra) == messages


@pytest.mark.parametrize(
    ("extra", "paths"),
    [
        ({"development": True}, ["development"]),
        ({"rtc": {"turn_servers": [{"secret": "x"}, {"credential": "x"}]}},
         ["rtc.turn_servers[0].secret", "rtc.turn_servers[1].credential"]),
        ({"room": {"room_configurations": {"secret": {"egress": {"room": {"file": {"s3": {"accessKey": "x"}}}}}}}},
         ["room.room_configurations.secret.egress.room.file.s3.accessKey"]),
        ({"a": {"apiKey": 1, "api-keys": 1, "Password": 1, "sessionToken": 1, "GOOGLE_CREDENTIALS": 1}},
         ["a.apiKey", "a.api-keys", "a.Password", "a.sessionToken", "a.GOOGLE_CREDENTIALS"]),
        ({"trace": {"jaeger_url": "https://user:pw@jaeger/x"}}, ["trace.jaeger_url"]),
        ({"trace": {"jaeger_url": "https://jaeger/x@y"}}, []),
        ({"limit": {"max_data_blob_key_length": 3}}, []),
        ({"rtc": {"turn_servers": [{"secret_file": "/x", "username": "u"}]}}, []),
        ({"logging": {"component_levels": {"token": "debug"}}}, []),
    ],
)  # fmt: skip
def test_what_no_field_says_and_must_not_be_there(extra: dict[str, Any], paths: list[str]) -> None:
    assert [message.split(": ")[0] for message in extra_config.find_forbidden(extra)] == [
        f"extraConfig.{path}" for path in paths
    ]


def test_where_fixed_credentials_belong_is_named() -> None:
    found = extra_config.find_forbidden({"rtc": {"turn_servers": [{"host": "t", "username": "u", "credential": "c"}]}})
    assert len(found) == 1
    assert "set spec.media.turnServers instead" in found[0]
