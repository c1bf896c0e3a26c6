"""What a server's Services have in common."""

import pytest

from livekit_operator.servers.manifests import signalling
from livekit_operator.servers.manifests.service import has_address, load_balancer_address
from tests.fakes import models
from tests.unit.operator.servers.manifests.network_specs import CLOUD, Spec


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_settings_of_load_balancers_go_to_load_balancers(kind: str) -> None:
    """The API server refuses them elsewhere; annotations are for controllers of every type."""
    service = signalling.build_signal_service(models.server(signal={"service": {"type": kind, **CLOUD}}))
    assert service["metadata"]["annotations"] == CLOUD["annotations"]
    expected = ("cloud.example/lb", ["192.0.2.0/24"]) if kind == "LoadBalancer" else (None, None)
    assert (service["spec"].get("loadBalancerClass"), service["spec"].get("loadBalancerSourceRanges")) == expected


def test_a_service_without_annotations_has_none() -> None:
    assert "annotations" not in signalling.build_signal_service(models.server())["metadata"]


def points(*ingress: Spec) -> Spec:
    return {"status": {"loadBalancer": {"ingress": list(ingress)}}}


@pytest.mark.parametrize(
    ("service", "address"),
    [
        pytest.param(None, None, id="no Service"),
        pytest.param({}, None, id="no status"),
        pytest.param({"status": {"loadBalancer": {}}}, None, id="no load balancer"),
        pytest.param({"status": {"loadBalancer": {"ingress": None}}}, None, id="null"),
        pytest.param(points({"ip": "", "hostname": ""}), None, id="an empty one"),
        pytest.param(points({"ip": "203.0.113.7"}), "203.0.113.7", id="an IP"),
        pytest.param(points({"hostname": "lb.test"}), "lb.test", id="a host name"),
        pytest.param(points({"ip": "203.0.113.7", "hostname": "lb.test"}), "203.0.113.7", id="an IP before its name"),
        pytest.param(points({"hostname": "lb.test"}, {"ip": "203.0.113.7"}), "203.0.113.7", id="an IP before another"),
        pytest.param(points({"ip": "203.0.113.7"}, {"ip": "203.0.113.8"}), "203.0.113.7", id="the first"),
    ],
)
def test_the_address_of_a_load_balancer(service: Spec | None, address: str | None) -> None:
    assert load_balancer_address(service) == address
    assert has_address(service or {}) is (address is not None)
