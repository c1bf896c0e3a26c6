"""What servers read out of Secrets: by variables and in files."""

from typing import Any

import pytest

from livekit_operator.errors import Blocked
from livekit_operator.servers.manifests import config as server_config
from livekit_operator.servers.manifests import secret_inputs, turn
from livekit_operator.servers.manifests.secret_inputs import SecretInput
from tests.fakes import models
from tests.unit.operator.servers.manifests.configurations import LOGIN, REDIS_TLS, SENTINEL, TURN_TLS, config


def variable(name: str, secret: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


@pytest.mark.parametrize(
    ("spec", "variables", "inputs"),
    [
        ({}, [], []),
        ({"redis": {"address": "r:1"}, "prometheus": {}}, [], []),
        (
            {"redis": {"managed": {}}},
            [variable("REDIS_PASSWORD", "voice-redis", "password")],
            [SecretInput("voice-redis", ("password",), "spec.redis.managed")],
        ),
        (
            {"redis": {**SENTINEL, "passwordSecretRef": {"name": "r", "key": "k"}}},
            [variable("REDIS_PASSWORD", "r", "k"), variable("LIVEKIT_REDIS_SENTINEL_PASSWORD", "sentinel", "pw")],
            [
                SecretInput("r", ("k",), "spec.redis.passwordSecretRef"),
                SecretInput("sentinel", ("pw",), "spec.redis.sentinel.passwordSecretRef"),
            ],
        ),
        (
            {"prometheus": {"credentialsSecretRef": {"name": "scrape"}}},
            [
                variable("LIVEKIT_PROMETHEUS_USERNAME", "scrape", "username"),
                variable("LIVEKIT_PROMETHEUS_PASSWORD", "scrape", "password"),
            ],
            [SecretInput("scrape", ("username", "password"), "spec.prometheus.credentialsSecretRef")],
        ),
    ],
)
def test_secrets_by_the_environment(
    spec: dict[str, Any], variables: list[dict[str, Any]], inputs: list[SecretInput]
) -> None:
    server = models.server(**spec)
    assert secret_inputs.secret_environment(server) == variables
    assert secret_inputs.secret_inputs(server) == inputs
    assert secret_inputs.secret_volumes(server) == ([], [])


def test_secrets_in_files() -> None:
    server = models.server(turn=TURN_TLS, redis=REDIS_TLS)
    volumes, mounts = secret_inputs.secret_volumes(server)
    pair = [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}]
    assert volumes == [
        {"name": "turn-certificate", "secret": {"secretName": "turn-cert", "defaultMode": 0o440, "items": pair}},
        {
            "name": "redis-ca",
            "secret": {
                "secretName": "redis-ca",
                "defaultMode": 0o440,
                "items": [{"key": "root.pem", "path": "ca.crt"}],
            },
        },
        {
            "name": "redis-client-certificate",
            "secret": {"secretName": "redis-client", "defaultMode": 0o440, "items": pair},
        },
    ]
    assert [(mount["name"], mount["mountPath"], mount["readOnly"]) for mount in mounts] == [
        ("turn-certificate", "/etc/livekit-turn", True),
        ("redis-ca", "/etc/livekit-redis-ca", True),
        ("redis-client-certificate", "/etc/livekit-redis-client", True),
    ]
    assert secret_inputs.secret_inputs(server) == [
        SecretInput("redis", ("pw",), "spec.redis.passwordSecretRef"),
        SecretInput("turn-cert", ("tls.crt", "tls.key"), "spec.turn.tls.certificate.secretName"),
        SecretInput("redis-ca", ("root.pem",), "spec.redis.tls.caSecretRef"),
        SecretInput("redis-client", ("tls.crt", "tls.key"), "spec.redis.tls.clientCertificateSecretRef"),
    ]


def test_every_file_that_the_configuration_names_is_mounted() -> None:
    spec: dict[str, Any] = {"turn": TURN_TLS, "redis": REDIS_TLS}
    volumes, mounts = secret_inputs.secret_volumes(models.server(**spec))
    folders = {mount["name"]: mount["mountPath"] for mount in mounts}
    mounted = {f"{folders[v['name']]}/{item['path']}" for v in volumes for item in v["secret"]["items"]}
    found = config(**spec)
    tls = found["redis"]["tls"]
    named = {found["turn"]["cert_file"], found["turn"]["key_file"]}
    named |= {tls["ca_cert_file"], tls["client_cert_file"], tls["client_key_file"]}
    assert named == mounted


@pytest.mark.parametrize(
    ("tls", "name", "field"),
    [
        ({"certificate": {"secretName": "mine"}}, "mine", "secretName"),
        ({"certificate": {"issuerRef": {"name": "le"}}}, "voice-turn-tls", "issuerRef"),
        ({"external": True}, None, None),
    ],
)
def test_the_certificate_of_turn(tls: dict[str, Any], name: str | None, field: str | None) -> None:
    server = models.server(turn={"domain": "t.example.com", "tls": tls})
    assert turn.turn_certificate_secret(server) == name
    fields = [source.field for source in secret_inputs.secret_inputs(server)]
    assert fields == ([f"spec.turn.tls.certificate.{field}"] if field else [])


def test_turn_servers_of_others_have_their_login_from_a_secret() -> None:
    server = models.server(media={"turnServers": [LOGIN, {**LOGIN, "protocol": "tls", "port": 5349}]})
    (first, second) = server_config.build_config(server, operator_webhook_url=None, redis_address=None)["rtc"][
        "turn_servers"
    ]
    assert first == {
        "host": "203.0.113.60",
        "port": 3478,
        "protocol": "udp",
        "username": "@variable:TURN_SERVER_0_USERNAME@",
        "credential": "@variable:TURN_SERVER_0_PASSWORD@",
    }
    assert (second["protocol"], second["port"], second["credential"]) == (
        "tls",
        5349,
        "@variable:TURN_SERVER_1_PASSWORD@",
    )
    assert variable("TURN_SERVER_0_PASSWORD", "turn", "password") in secret_inputs.secret_environment(server)
    sources = secret_inputs.secret_inputs(server)
    assert [source.field for source in sources] == [
        "spec.media.turnServers[0].credentialsSecretRef",
        "spec.media.turnServers[1].credentialsSecretRef",
    ]


@pytest.mark.parametrize("value", [b"", b"a'b", b"two\nlines", "ü".encode(), b"x" * 513])
def test_what_would_break_out_of_the_configuration_is_refused(value: bytes) -> None:
    (source,) = secret_inputs.secret_inputs(models.server(media={"turnServers": [LOGIN]}))
    secret_inputs.require_quotable(source, "password", b'pass: "word" # {1} $(X) \\')
    with pytest.raises(Blocked, match=r"password of Secret turn, which spec\.media\.turnServers\[0\]") as refused:
        secret_inputs.require_quotable(source, "password", value)
    assert value.decode() not in refused.value.problem.message or not value
