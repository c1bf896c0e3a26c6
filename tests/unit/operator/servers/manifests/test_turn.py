"""TURN over TLS, and where certificates come from."""

import pytest

from livekit_operator.servers.manifests import signalling
from livekit_operator.servers.manifests import turn as server_turn
from tests.fakes import models
from tests.unit.operator.servers.manifests.network_specs import CLOUD, INGRESS, SERVING, TURN_TLS, Spec


def test_certificates_are_requested_where_an_issuer_is_named() -> None:
    issuer = {"issuerRef": {"name": "ca", "kind": "ClusterIssuer"}}
    turn = {"domain": "turn.example.com", "tls": {"certificate": issuer}}
    server = models.server(signal={"ingress": {**INGRESS, "tls": issuer}}, turn=turn)
    reference = {"name": "ca", "kind": "ClusterIssuer", "group": "cert-manager.io"}
    assert [(item["metadata"]["name"], item["spec"]) for item in server_turn.build_certificates(server)] == [
        (name, {"secretName": name, "dnsNames": [host], "issuerRef": reference})
        for name, host in (("voice-signal-tls", "voice.example.com"), ("voice-turn-tls", "turn.example.com"))
    ]
    ingress = signalling.build_ingress(server)
    assert ingress is not None
    assert ingress["spec"]["tls"][0]["secretName"] == "voice-signal-tls"
    assert server_turn.turn_certificate_secret(server) == "voice-turn-tls"


@pytest.mark.parametrize(
    ("turn", "secret"),
    [
        (None, None),
        ({"udp": True}, None),
        (TURN_TLS, None),
        ({"domain": "turn.example.com", "tls": {"certificate": {"secretName": "mine"}}}, "mine"),
    ],
)
def test_no_certificate_is_requested_otherwise(turn: Spec | None, secret: str | None) -> None:
    server = models.server(signal={"ingress": {**INGRESS, "tls": {"secretName": "mine"}}}, turn=turn)
    assert server_turn.build_certificates(server) == []
    assert server_turn.turn_certificate_secret(server) == secret


def test_turn_over_tls_is_led_to_serving_servers() -> None:
    assert server_turn.build_turn_service(models.server()) is None
    assert server_turn.build_turn_service(models.server(turn=TURN_TLS)) is None
    tls = {"external": True, "port": 5350, "service": CLOUD}
    found = server_turn.build_turn_service(models.server(turn={**TURN_TLS, "tls": tls}))
    assert found is not None
    assert found["metadata"]["name"] == "voice-livekit-turn"
    assert found["metadata"]["annotations"] == CLOUD["annotations"]
    assert found["spec"] == {
        "type": "LoadBalancer",
        "selector": SERVING,
        "ports": [{"name": "turn-tls", "port": 443, "targetPort": "turn-tls", "protocol": "TCP"}],
        "loadBalancerClass": "cloud.example/lb",
        "loadBalancerSourceRanges": ["192.0.2.0/24"],
    }
