"""The URLs that people are told, and a list for firewalls."""

import pytest

from livekit_operator.api.livekitserver import ServerPort
from livekit_operator.servers.manifests import reach, signalling
from livekit_operator.servers.manifests.media import SlotPorts
from tests.fakes import models
from tests.unit.operator.servers.manifests.network_specs import (
    GATEWAY,
    HOST,
    INGRESS,
    LOAD_BALANCER,
    NODE_PORT,
    TURN_TLS,
    Spec,
    balanced,
)


def test_the_url_for_pods() -> None:
    assert reach.internal_url(models.server(signal={"port": 7999})) == "ws://voice-livekit.team.svc:7999"


SIGNAL_31880: Spec = {"spec": {"ports": [{"name": "signal", "port": 7880, "nodePort": 31880}]}}


@pytest.mark.parametrize(
    ("spec", "node", "service", "expected"),
    [
        pytest.param({"signal": {"externalUrl": "wss://x"}}, "192.0.2.1", None, "wss://x", id="as asked for"),
        pytest.param({"signal": {"ingress": INGRESS}}, None, None, "ws://voice.example.com", id="ingress"),
        pytest.param(
            {"signal": {"ingress": {**INGRESS, "tls": {"secretName": "x"}}}},
            None,
            None,
            "wss://voice.example.com",
            id="ingress with TLS",
        ),
        pytest.param({"signal": {"gateway": GATEWAY}}, None, None, "wss://voice.example.com", id="gateway"),
        pytest.param(
            {"signal": {"gateway": {**GATEWAY, "tls": False}}}, None, None, "ws://voice.example.com", id="plain gateway"
        ),
        pytest.param(
            {"signal": {"gateway": {**GATEWAY, "parentRefs": [{"name": "public", "port": 8443}]}}},
            None,
            None,
            "wss://voice.example.com:8443",
            id="gateway with a port",
        ),
        pytest.param(
            {"signal": {"gateway": {**GATEWAY, "parentRefs": [{"name": "public", "port": 443}]}}},
            None,
            None,
            "wss://voice.example.com",
            id="gateway with the usual port",
        ),
        pytest.param(HOST, "192.0.2.1", None, "ws://192.0.2.1:7880", id="host network"),
        pytest.param(HOST, "2001:db8::1", None, "ws://[2001:db8::1]:7880", id="host network, IPv6"),
        pytest.param(HOST, None, None, None, id="host network, not yet"),
        pytest.param(NODE_PORT, "192.0.2.1", SIGNAL_31880, "ws://192.0.2.1:31880", id="node port"),
        pytest.param(NODE_PORT, "192.0.2.1", None, None, id="node port, not yet"),
        pytest.param(NODE_PORT, None, SIGNAL_31880, None, id="node port, no node yet"),
        pytest.param(LOAD_BALANCER, "192.0.2.1", balanced(ip="203.0.113.7"), "ws://203.0.113.7:7880", id="balancer"),
        pytest.param(
            LOAD_BALANCER, None, balanced(hostname="lb.example.com"), "ws://lb.example.com:7880", id="balancer, name"
        ),
        pytest.param(LOAD_BALANCER, None, balanced(ip="2001:db8::7"), "ws://[2001:db8::7]:7880", id="balancer, IPv6"),
        pytest.param(LOAD_BALANCER, "192.0.2.1", None, None, id="balancer, not yet"),
        pytest.param(
            {**NODE_PORT, "signal": {"service": {"type": "ClusterIP"}}},
            "192.0.2.1",
            SIGNAL_31880,
            None,
            id="only within the cluster",
        ),
    ],
)
def test_the_url_for_clients(spec: Spec, node: str | None, service: Spec | None, expected: str | None) -> None:
    assert reach.external_url(models.server(**spec), node_address=node, signal_service=service) == expected


NODES = "clients, at the nodes"
BALANCERS = "clients, at the load balancer of each server"
EDGE = "clients, at voice.example.com"


@pytest.mark.parametrize(
    ("spec", "slots", "service", "expected"),
    [
        pytest.param(
            HOST,
            {},
            None,
            [
                ("signal", "TCP", 7880, None, NODES),
                ("ice-tcp", "TCP", 7881, None, NODES),
                ("media", "UDP", 50100, 50200, NODES),
            ],
            id="host network",
        ),
        pytest.param(
            {**HOST, "turn": {"domain": "turn.example.com", "tls": {"external": True}}, "prometheus": {}},
            {0: SlotPorts((50100, 50200), 7881, 3478), 1: SlotPorts((50100, 50200), 7881, 3478)},
            None,
            [
                ("signal", "TCP", 7880, None, NODES),
                ("ice-tcp", "TCP", 7881, None, NODES),
                ("media", "UDP", 50100, 50200, NODES),
                ("turn-udp", "UDP", 3478, None, NODES),
                ("turn-tls", "TCP", 443, None, "clients, at turn.example.com"),
                ("turn-tls", "TCP", 5349, None, "what leads turn.example.com:443 to the servers"),
            ],
            id="host network with TURN; no metrics, no relay range",
        ),
        pytest.param(NODE_PORT, {}, None, [], id="node ports, not yet"),
        pytest.param(
            NODE_PORT,
            {2: SlotPorts((31877, 31877), 31002), 0: SlotPorts((31000, 31000), 31003), 1: SlotPorts((31001, 31001), 9)},
            SIGNAL_31880,
            [
                ("signal", "TCP", 31880, None, NODES),
                ("ice-tcp", "TCP", 9, None, NODES),
                ("ice-tcp", "TCP", 31002, 31003, NODES),
                ("media", "UDP", 31000, 31001, NODES),
                ("media", "UDP", 31877, None, NODES),
            ],
            id="node ports of three servers, neighbours as one",
        ),
        pytest.param(
            {**LOAD_BALANCER, "turn": {**TURN_TLS, "udp": True, "tls": {"external": True, "service": {}}}},
            {},
            None,
            [
                ("signal", "TCP", 7880, None, "clients, at the load balancer of the signalling"),
                ("ice-tcp", "TCP", 7881, None, BALANCERS),
                ("media", "UDP", 7882, None, BALANCERS),
                ("turn-udp", "UDP", 3478, None, BALANCERS),
                ("turn-tls", "TCP", 443, None, "clients, at turn.example.com"),
            ],
            id="load balancers",
        ),
    ],
)
def test_the_firewall_list(
    spec: Spec,
    slots: dict[int, SlotPorts],
    service: Spec | None,
    expected: list[tuple[str, str, int, int | None, str]],
) -> None:
    assert lines(reach.firewall(models.server(**spec), slots, signal_service=service)) == expected


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ({"ingress": INGRESS}, [(80, EDGE)]),
        ({"ingress": {**INGRESS, "tls": {"secretName": "x"}}}, [(443, EDGE)]),
        ({"gateway": GATEWAY}, [(443, EDGE)]),
        (
            {"gateway": {**GATEWAY, "parentRefs": [{"name": "a", "port": 8443}, {"name": "b"}]}},
            [(443, EDGE), (8443, EDGE)],
        ),
        (
            {"externalUrl": "wss://voice.example.com"},
            [(443, EDGE), (7880, "what leads voice.example.com to the servers, at the nodes")],
        ),
        (
            {"externalUrl": "ws://voice.example.com:8080/x"},
            [(8080, EDGE), (7880, "what leads voice.example.com to the servers, at the nodes")],
        ),
        ({"externalUrl": "ws://192.0.2.1:7880"}, [(7880, "clients, at 192.0.2.1")]),
        ({"service": {"type": "NodePort"}}, [(7880, NODES)]),
        (
            {"ingress": INGRESS, "service": {"type": "NodePort"}},
            [(80, EDGE), (31880, "what leads voice.example.com to the servers, at the nodes")],
        ),
    ],
)
def test_where_signalling_comes_in(signal: Spec, expected: list[tuple[int, str]]) -> None:
    found = reach.firewall(models.server(signal=signal), {}, signal_service=SIGNAL_31880)
    assert [(line.port, line.needed_by) for line in found if line.name == "signal"] == expected


def lines(found: list[ServerPort]) -> list[tuple[str, str, int, int | None, str]]:
    return [(x.name, x.protocol, x.port, x.end_port, x.needed_by or "") for x in found]


def test_the_service_of_the_signalling_may_have_a_port_of_its_own() -> None:
    server = models.server(signal={"port": 7999, "service": {"type": "LoadBalancer", "port": 443}})
    (port,) = signalling.build_signal_service(server)["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (443, "signal")
    assert reach.internal_url(server) == "ws://voice-livekit.team.svc:443"
    balanced = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}}
    assert reach.external_url(server, node_address=None, signal_service=balanced) == "ws://203.0.113.9:443"
    wss = models.server(
        signal={"externalUrl": "wss://voice.example.com", "service": {"type": "LoadBalancer", "port": 443}}
    )
    lines = [line for line in reach.firewall(wss, {}, signal_service=balanced) if line.name == "signal"]
    assert [line.port for line in lines] == [443], "the URL's port is the Service's"
    gateway = {"parentRefs": [{"name": "public"}], "host": "voice.example.com"}
    route = signalling.build_http_route(models.server(signal={"gateway": gateway, "service": {"port": 80}}))
    assert route is not None
    assert route["spec"]["rules"][0]["backendRefs"][0]["port"] == 80


@pytest.mark.parametrize(
    ("spec", "lacking"),
    [
        ({"signal": {"service": {"type": "ClusterIP"}}, "media": {"exposure": "NodePort"}}, True),
        ({"signal": {"service": {"type": "ClusterIP"}}, "media": {"exposure": "LoadBalancer"}}, True),
        ({"signal": {}, "media": {"exposure": "NodePort"}}, False),
        ({"signal": {}}, False),
        ({"signal": {"externalUrl": "wss://x.example.com"}, "media": {"exposure": "NodePort"}}, False),
        ({"signal": {"ingress": {"host": "x.example.com"}}, "media": {"exposure": "NodePort"}}, False),
    ],
)
def test_a_url_that_nothing_can_tell(spec: Spec, lacking: bool) -> None:
    assert reach.lacks_external_url(models.server(**spec)) is lacking
