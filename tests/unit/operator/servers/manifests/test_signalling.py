"""How new clients reach servers' signalling: Service, Ingress or route."""

import pytest

from livekit_operator.servers.manifests import signalling
from tests.fakes import models
from tests.unit.operator.servers.manifests.network_specs import (
    GATEWAY,
    HOST,
    INGRESS,
    LOAD_BALANCER,
    NODE_PORT,
    SERVING,
    Spec,
)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(HOST, "ClusterIP", id="host network"),
        pytest.param(NODE_PORT, "NodePort", id="node port"),
        pytest.param(LOAD_BALANCER, "LoadBalancer", id="load balancer"),
        pytest.param({**NODE_PORT, "signal": {"ingress": INGRESS}}, "ClusterIP", id="behind an ingress"),
        pytest.param({**LOAD_BALANCER, "signal": {"gateway": GATEWAY}}, "ClusterIP", id="behind a gateway"),
        pytest.param({**NODE_PORT, "signal": {"externalUrl": "wss://x"}}, "ClusterIP", id="behind a URL"),
        pytest.param(
            {**NODE_PORT, "signal": {"ingress": INGRESS, "service": {"type": "NodePort"}}},
            "NodePort",
            id="as asked for",
        ),
        pytest.param(
            {"signal": {"service": {"type": "LoadBalancer"}}}, "LoadBalancer", id="host network, as asked for"
        ),
    ],
)
def test_the_type_of_the_signalling(spec: Spec, expected: str) -> None:
    assert signalling.build_signal_service(models.server(**spec))["spec"]["type"] == expected


def test_new_clients_are_led_only_to_serving_servers() -> None:
    service = signalling.build_signal_service(models.server(signal={"port": 7999}))
    assert service["metadata"]["name"] == "voice-livekit"
    assert service["spec"]["selector"] == SERVING
    assert service["spec"]["ports"] == [{"name": "signal", "port": 7999, "targetPort": "signal", "protocol": "TCP"}]


def test_an_ingress() -> None:
    assert signalling.build_ingress(models.server()) is None
    ingress = {**INGRESS, "className": "nginx", "annotations": {"a": "b"}, "tls": {"secretName": "mine"}}
    found = signalling.build_ingress(models.server(signal={"ingress": ingress}))
    assert found is not None
    assert found["metadata"]["annotations"] == {"a": "b"}
    backend = {"service": {"name": "voice-livekit", "port": {"name": "signal"}}}
    assert found["spec"] == {
        "ingressClassName": "nginx",
        "rules": [
            {
                "host": "voice.example.com",
                "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
            }
        ],
        "tls": [{"hosts": ["voice.example.com"], "secretName": "mine"}],
    }


def test_a_plain_ingress_names_no_class_and_no_certificate() -> None:
    found = signalling.build_ingress(models.server(signal={"ingress": INGRESS}))
    assert found is not None
    assert set(found["spec"]) == {"rules"}


def test_a_route_does_not_end_calls() -> None:
    assert signalling.build_http_route(models.server()) is None
    parent = {"name": "public", "namespace": "edge", "sectionName": "https", "port": 8443}
    gateway = {**GATEWAY, "parentRefs": [parent], "annotations": {"a": "b"}}
    found = signalling.build_http_route(models.server(signal={"gateway": gateway}))
    assert found is not None
    assert (found["apiVersion"], found["kind"]) == ("gateway.networking.k8s.io/v1", "HTTPRoute")
    assert found["metadata"]["annotations"] == {"a": "b"}
    assert found["spec"]["parentRefs"] == [parent]
    assert found["spec"]["hostnames"] == ["voice.example.com"]
    [rule] = found["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s"}
    assert rule["backendRefs"] == [{"name": "voice-livekit", "port": 7880}]
