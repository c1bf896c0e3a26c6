"""A server's children: what livekit-server reads, and no key where it does not belong."""

import base64
import json
from typing import Any

import pytest
import yaml

from livekit_operator.resources import livekitserver as build
from livekit_operator.resources.metadata import digest
from tests.fakes.manifests import decoded
from tests.unit.operator.resources import models

SECRET = "generated-secret-of-more-than-thirty-two-characters"


def deployment(webhook: str | None = None, **spec: Any) -> dict[str, Any]:
    server = models.server(**spec)
    config = build.build_config(server, webhook)
    keys = digest(["APIx", SECRET], 8)
    return build.build_deployment(server, config, repository="livekit/livekit-server", keys_digest=keys)


def pod_spec(**spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = deployment(**spec)["spec"]["template"]["spec"]
    return found


def environment(webhook: str | None = None, **spec: Any) -> dict[str, Any]:
    [container] = deployment(webhook, **spec)["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable for variable in container["env"]}


@pytest.mark.parametrize(
    ("spec", "rtc"),
    [
        pytest.param(
            {},
            {"tcp_port": 7881, "use_external_ip": False, "port_range_start": 50100, "port_range_end": 50200},
            id="defaults",
        ),
        pytest.param(
            {"media": {"udp": {"muxPorts": {"start": 7882, "end": 7885}}, "tcpPort": 7999}},
            {"tcp_port": 7999, "use_external_ip": False, "udp_port": "7882-7885"},
            id="shared ports",
        ),
        pytest.param(
            {"media": {"discoverExternalIp": True, "udp": {"portRange": {"start": 1, "end": 2}}}},
            {"tcp_port": 7881, "use_external_ip": True, "port_range_start": 1, "port_range_end": 2},
            id="behind a NAT",
        ),
    ],
)
def test_config_of_media(spec: dict[str, Any], rtc: dict[str, Any]) -> None:
    assert build.build_config(models.server(**spec), None)["rtc"] == rtc


def test_config_of_the_rest() -> None:
    server = models.server(signal={"port": 7999}, logging={"level": "debug"})
    config = build.build_config(server, "http://operator/webhooks/team/voice")
    assert config["port"] == 7999
    assert config["logging"] == {"json": True, "level": "debug"}
    assert config["webhook"] == {"urls": ["http://operator/webhooks/team/voice"]}
    assert config["agents"] == {"target_load": 1.0}
    assert "webhook" not in build.build_config(server, None)
    assert "keys" not in config


def test_the_config_map_holds_the_configuration_as_yaml() -> None:
    server = models.server()
    config = build.build_config(server, None)
    assert yaml.safe_load(build.build_config_map(server, config)["data"]["livekit.yaml"]) == config


def test_keys_are_in_their_secret_and_nowhere_else() -> None:
    server = models.server()
    config = build.build_config(server, "http://operator")
    secret = build.build_keys_secret(server, "APIx", SECRET)
    assert decoded(secret) == {"apiKey": "APIx", "apiSecret": SECRET}
    others = [
        build.build_config_map(server, config),
        build.build_service(server),
        deployment(webhook="http://operator"),
    ]
    text = json.dumps(others)
    for form in (SECRET, base64.b64encode(SECRET.encode()).decode(), "APIx"):
        assert form not in text


def test_the_environment_refers_to_the_secret() -> None:
    variables = environment(webhook="http://operator")
    assert variables["SERVER_API_SECRET"]["valueFrom"] == {"secretKeyRef": {"name": "voice-keys", "key": "apiSecret"}}
    assert variables["LIVEKIT_KEYS"]["value"] == "$(SERVER_API_KEY): $(SERVER_API_SECRET)"
    assert variables["LIVEKIT_WEBHOOK_API_KEY"]["valueFrom"]["secretKeyRef"]["key"] == "apiKey"
    assert "LIVEKIT_WEBHOOK_API_KEY" not in environment()
    names = list(variables)
    assert names.index("SERVER_API_SECRET") < names.index("LIVEKIT_KEYS"), "only earlier variables are put in"


def test_a_given_secret_is_used() -> None:
    reference = environment(keysSecretRef={"name": "my-keys"})["SERVER_API_KEY"]["valueFrom"]["secretKeyRef"]
    assert reference["name"] == "my-keys"
    assert build.keys_secret_name(models.server(keysSecretRef={"name": "my-keys"})) == "my-keys"


def test_the_nodes_address_is_advertised_unless_it_is_discovered() -> None:
    assert environment()["NODE_IP"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.hostIP"
    assert "NODE_IP" not in environment(media={"discoverExternalIp": True})
    assert environment(region="eu")["LIVEKIT_REGION"]["value"] == "eu"


def test_the_pod_is_hardened_and_on_the_host_network() -> None:
    spec = pod_spec()
    assert spec["hostNetwork"] is True
    assert spec["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["args"] == ["--config", "/etc/livekit/livekit.yaml"]
    assert {port["name"]: port["hostPort"] for port in container["ports"]} == {"signal": 7880, "ice-tcp": 7881}


def test_the_image() -> None:
    assert pod_spec(version="v1.13.4")["containers"][0]["image"] == "livekit/livekit-server:v1.13.4"
    assert pod_spec(image="mine:1")["containers"][0]["image"] == "mine:1"


def test_the_old_server_leaves_before_the_new_one_comes() -> None:
    strategy = deployment()["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert pod_spec(drainTimeoutSeconds=0)["terminationGracePeriodSeconds"] == 1
    assert pod_spec(drainTimeoutSeconds=77)["terminationGracePeriodSeconds"] == 77


@pytest.mark.parametrize(
    ("spec", "restarts"),
    [
        pytest.param({"logging": {"level": "debug"}}, True, id="configuration"),
        pytest.param({"version": "v1.13.4"}, True, id="version"),
        pytest.param({"allowedNamespaces": ["guests"]}, False, id="who may use it"),
        pytest.param({"signal": {"externalUrl": "wss://other.example.com"}}, False, id="URL for clients"),
        pytest.param({"replicas": 0}, False, id="number"),
    ],
)
def test_a_server_restarts_only_for_what_it_reads_at_its_start(spec: dict[str, Any], restarts: bool) -> None:
    template = deployment()["spec"]["template"]
    assert (deployment(**spec)["spec"]["template"] != template) is restarts


def test_rotated_keys_restart_the_server() -> None:
    server = models.server()
    config = build.build_config(server, None)
    one, other = (
        build.build_deployment(server, config, repository="r", keys_digest=value)["spec"]["template"] for value in "ab"
    )
    assert one != other


def test_the_firewall_list() -> None:
    assert build.ports(models.server()) == [
        {"name": "signal", "protocol": "TCP", "port": 7880},
        {"name": "ice-tcp", "protocol": "TCP", "port": 7881},
        {"name": "media", "protocol": "UDP", "port": 50100, "endPort": 50200},
    ]
    shared = models.server(media={"udp": {"muxPorts": {"start": 7882, "end": 7882}}})
    assert build.ports(shared)[-1] == {"name": "media", "protocol": "UDP", "port": 7882, "endPort": 7882}


@pytest.mark.parametrize(
    ("signal", "address", "expected"),
    [
        ({"externalUrl": "wss://voice.example.com"}, "192.0.2.1", "wss://voice.example.com"),
        ({}, "192.0.2.1", "ws://192.0.2.1:7880"),
        ({"port": 7999}, "2001:db8::1", "ws://[2001:db8::1]:7999"),
        ({}, None, None),
    ],
)
def test_the_url_for_clients(signal: dict[str, Any], address: str | None, expected: str | None) -> None:
    assert build.external_url(models.server(signal=signal), address) == expected


def test_the_url_for_pods_is_the_service() -> None:
    server = models.server(signal={"port": 7999})
    assert build.internal_url(server) == "ws://voice-livekit.team.svc:7999"
    service = build.build_service(server)
    assert service["metadata"]["name"] == "voice-livekit"
    assert service["spec"]["ports"] == [{"name": "signal", "port": 7999, "targetPort": "signal", "protocol": "TCP"}]
    selected = service["spec"]["selector"].items()
    assert selected <= deployment()["spec"]["template"]["metadata"]["labels"].items()
