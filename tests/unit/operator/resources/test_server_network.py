"""How a server is reached: one way for new clients, one for each server's media, and a list for firewalls."""

from typing import Any

import pytest

from livekit_operator.errors import Blocked
from livekit_operator.resources import server_config
from livekit_operator.resources import server_network as build
from livekit_operator.resources.server_network import SlotPorts
from tests.unit.operator.resources import models

Spec = dict[str, Any]
POD = {
    "app.kubernetes.io/name": "livekit-server",
    "app.kubernetes.io/instance": "voice",
    "app.kubernetes.io/component": "server",
}
SERVING = {**POD, "livekit-operator.dev/serving": "true"}
NODE_PORT: Spec = {"media": {"exposure": "NodePort"}, "signal": {}}
LOAD_BALANCER: Spec = {"media": {"exposure": "LoadBalancer"}, "signal": {}}
HOST: Spec = {"signal": {}}
INGRESS: Spec = {"host": "voice.example.com"}
GATEWAY: Spec = {"host": "voice.example.com", "parentRefs": [{"name": "public"}]}
TURN: Spec = {"turn": {"udp": True}}
TURN_TLS: Spec = {"domain": "turn.example.com", "udp": False, "tls": {"external": True}}
CLOUD: Spec = {
    "annotations": {"cloud.example/kind": "network"},
    "loadBalancerClass": "cloud.example/lb",
    "sourceRanges": ["192.0.2.0/24"],
}


def ports_of(service: Spec | None) -> list[tuple[str, str, int, int, int | None]]:
    assert service is not None
    return [(p["name"], p["protocol"], p["port"], p["targetPort"], p.get("nodePort")) for p in service["spec"]["ports"]]


def assigned(service: Spec, first: int = 31000) -> Spec:
    """Return a Service with the node ports that the API server chooses where none is named."""
    ports = [{"nodePort": first + index, **port} for index, port in enumerate(service["spec"]["ports"])]
    return {**service, "spec": {**service["spec"], "ports": ports}}


def balanced(**point: str) -> Spec:
    return {"spec": {}, "status": {"loadBalancer": {"ingress": [point]}}}


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
    assert build.build_signal_service(models.server(**spec))["spec"]["type"] == expected


def test_new_clients_are_led_only_to_serving_servers() -> None:
    service = build.build_signal_service(models.server(signal={"port": 7999}))
    assert service["metadata"]["name"] == "voice-livekit"
    assert service["spec"]["selector"] == SERVING
    assert service["spec"]["ports"] == [{"name": "signal", "port": 7999, "targetPort": "signal", "protocol": "TCP"}]


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_settings_of_load_balancers_go_to_load_balancers(kind: str) -> None:
    """The API server refuses them elsewhere; annotations are for controllers of every type."""
    service = build.build_signal_service(models.server(signal={"service": {"type": kind, **CLOUD}}))
    assert service["metadata"]["annotations"] == CLOUD["annotations"]
    expected = ("cloud.example/lb", ["192.0.2.0/24"]) if kind == "LoadBalancer" else (None, None)
    assert (service["spec"].get("loadBalancerClass"), service["spec"].get("loadBalancerSourceRanges")) == expected


def test_media_on_the_host_network_needs_no_service() -> None:
    server = models.server()
    assert build.build_slot_service(server, 0, None) is None
    assert build.slot_ports(server, None) == SlotPorts((50100, 50200), 7881)
    assert build.slot_address(server, None) is None


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, SlotPorts((50100, 50200), 7881)),
        ({"media": {"udp": {"portRange": {"start": 1, "end": 9}}, "tcpPort": 99}}, SlotPorts((1, 9), 99)),
        ({"media": {"udp": {"muxPorts": {"start": 7, "end": 7}}}, **TURN}, SlotPorts((7, 7), 7881, 3478)),
        ({"turn": {"udp": True, "udpPort": 443}}, SlotPorts((50100, 50200), 7881, 443)),
        ({"turn": TURN_TLS}, SlotPorts((50100, 50200), 7881)),
    ],
)
def test_ports_on_the_host_network(spec: Spec, expected: SlotPorts) -> None:
    assert build.slot_ports(models.server(**spec), None) == expected


@pytest.mark.parametrize("spec", [NODE_PORT, LOAD_BALANCER])
def test_media_goes_to_one_server_and_no_other(spec: Spec) -> None:
    service = build.build_slot_service(models.server(**spec), 3, None)
    assert service is not None
    assert service["metadata"]["name"] == "voice-livekit-3" == build.slot_name(models.server(), 3)
    assert service["spec"]["type"] == spec["media"]["exposure"]
    assert service["spec"]["selector"] == {**POD, "livekit-operator.dev/slot": "3"}
    assert service["spec"]["externalTrafficPolicy"] == "Local"
    # A server that drains is Terminating, and its calls go on.
    assert service["spec"]["publishNotReadyAddresses"] is True


@pytest.mark.parametrize("turn", [{}, TURN])
def test_node_ports_that_the_cluster_chooses(turn: Spec) -> None:
    """First none is named; then the server listens on what was chosen, and that stays."""
    server = models.server(**NODE_PORT, **turn)
    first = build.build_slot_service(server, 0, None)
    numbers = [("media", "UDP", 7882), ("ice-tcp", "TCP", 7881), *([("turn-udp", "UDP", 3478)] if turn else [])]
    assert ports_of(first) == [(*number, number[2], None) for number in numbers]
    assert first is not None
    assert build.slot_ports(server, first) is None

    second = build.build_slot_service(server, 0, assigned(first))
    expected = [(*number, 31000 + index, 31000 + index) for index, number in enumerate(numbers)]
    assert ports_of(second) == expected
    assert second is not None
    assert build.slot_ports(server, second) == SlotPorts((31000, 31000), 31001, 31002 if turn else None)
    assert ports_of(build.build_slot_service(server, 0, second)) == expected


def test_turn_that_comes_later_keeps_the_ports_that_are_there() -> None:
    before = models.server(**NODE_PORT)
    first = build.build_slot_service(before, 0, None)
    assert first is not None
    live = assigned(first)
    after = models.server(**NODE_PORT, **TURN)
    assert build.slot_ports(after, live) is None
    assert ports_of(build.build_slot_service(after, 0, live)) == [
        ("media", "UDP", 7882, 31000, 31000),
        ("ice-tcp", "TCP", 7881, 31001, 31001),
        ("turn-udp", "UDP", 3478, 3478, None),
    ]


RANGE: Spec = {"exposure": "NodePort", "nodePorts": {"start": 30100, "end": 30199}}
SHARED: Spec = {"exposure": "LoadBalancer", "udp": {"muxPorts": {"start": 7882, "end": 7883}}}


@pytest.mark.parametrize(
    ("before", "after", "moves"),
    [
        pytest.param(NODE_PORT, NODE_PORT, False, id="nothing"),
        pytest.param(NODE_PORT, {**NODE_PORT, **TURN}, False, id="a port more"),
        pytest.param({**NODE_PORT, **TURN}, NODE_PORT, True, id="a port less"),
        pytest.param(NODE_PORT, {"media": RANGE}, True, id="a range of node ports"),
        pytest.param({"media": RANGE}, {"media": {**RANGE, "nodePorts": {"start": 1, "end": 9}}}, True, id="another"),
        pytest.param({"media": RANGE}, NODE_PORT, False, id="no range any more"),
        pytest.param(NODE_PORT, LOAD_BALANCER, True, id="a load balancer"),
        pytest.param(LOAD_BALANCER, NODE_PORT, True, id="no load balancer any more"),
        pytest.param(LOAD_BALANCER, LOAD_BALANCER, False, id="the same load balancer"),
        pytest.param(LOAD_BALANCER, {"media": {"exposure": "LoadBalancer", "tcpPort": 99}}, True, id="another number"),
        pytest.param(LOAD_BALANCER, {"media": SHARED}, True, id="more media ports"),
    ],
)
def test_what_would_cut_off_a_server(before: Spec, after: Spec, moves: bool) -> None:
    old = models.server(**before)
    first = build.build_slot_service(old, 0, None)
    assert first is not None
    running = build.build_slot_service(old, 0, assigned(first))
    assert running is not None
    desired = build.build_slot_service(models.server(**after), 0, assigned(running))
    assert desired is not None
    assert build.moves_ports(assigned(running), desired) is moves


def test_ports_that_were_just_chosen_are_nobodys_yet() -> None:
    server = models.server(**NODE_PORT)
    first = build.build_slot_service(server, 0, None)
    assert first is not None
    desired = build.build_slot_service(server, 0, assigned(first))
    assert desired is not None
    assert not build.moves_ports(assigned(first), desired)


@pytest.mark.parametrize(
    ("turn", "slot", "expected"),
    [
        ({}, 0, SlotPorts((30100, 30100), 30101)),
        ({}, 2, SlotPorts((30104, 30104), 30105)),
        (TURN, 0, SlotPorts((30100, 30100), 30101, 30102)),
        (TURN, 1, SlotPorts((30103, 30103), 30104, 30105)),
    ],
)
def test_node_ports_of_a_given_range(turn: Spec, slot: int, expected: SlotPorts) -> None:
    media = {"exposure": "NodePort", "nodePorts": {"start": 30100, "end": 30105}}
    server = models.server(media=media, **turn)
    service = build.build_slot_service(server, slot, None)
    assert build.slot_ports(server, service) == expected
    assert all(target == node for _, _, _, target, node in ports_of(service))


@pytest.mark.parametrize(("turn", "slot", "last", "needed"), [({}, 3, 30107, 8), (TURN, 2, 30108, 12)])
def test_a_range_that_is_too_small_is_named(turn: Spec, slot: int, last: int, needed: int) -> None:
    media = {"exposure": "NodePort", "nodePorts": {"start": 30100, "end": 30105}}
    server = models.server(media=media, replicas=2, redis={"managed": {}}, **turn)
    with pytest.raises(Blocked, match=rf"-{last}, but .* need {needed} ports: 30100-{30100 + needed - 1}") as error:
        build.build_slot_service(server, slot, None)
    assert error.value.reason == "NodePortsExhausted"


@pytest.mark.parametrize(
    ("spec", "names", "expected"),
    [
        ({}, ["media", "ice-tcp"], SlotPorts((7882, 7882), 7881)),
        (
            {"udp": {"muxPorts": {"start": 9000, "end": 9002}}, "tcpPort": 99},
            ["media-9000", "media-9001", "media-9002", "ice-tcp"],
            SlotPorts((9000, 9002), 99),
        ),
    ],
)
def test_ports_of_a_load_balancer(spec: Spec, names: list[str], expected: SlotPorts) -> None:
    server = models.server(media={"exposure": "LoadBalancer", "loadBalancer": CLOUD, **spec}, **TURN)
    service = build.build_slot_service(server, 0, None)
    assert service is not None
    ports = ports_of(service)
    assert [name for name, *_ in ports] == [*names, "turn-udp"]
    assert all(port == target and node is None for _, _, port, target, node in ports)
    assert build.slot_ports(server, service) == SlotPorts(expected.udp, expected.tcp, 3478)
    assert build.slot_ports(server, None) is None
    assert service["metadata"]["annotations"] == CLOUD["annotations"]
    assert service["spec"]["loadBalancerClass"] == "cloud.example/lb"
    assert service["spec"]["loadBalancerSourceRanges"] == ["192.0.2.0/24"]


@pytest.mark.parametrize(
    ("spec", "service", "expected"),
    [
        pytest.param(LOAD_BALANCER, None, None, id="no Service yet"),
        pytest.param(LOAD_BALANCER, {"spec": {}, "status": {"loadBalancer": {}}}, None, id="no address yet"),
        pytest.param(LOAD_BALANCER, balanced(ip="203.0.113.7"), "203.0.113.7", id="address"),
        pytest.param(LOAD_BALANCER, balanced(hostname="lb.example.com"), "lb.example.com", id="host name"),
        pytest.param(
            {"media": {"exposure": "LoadBalancer", "nodeIp": "198.51.100.1"}}, None, "198.51.100.1", id="address given"
        ),
        pytest.param(NODE_PORT, balanced(ip="203.0.113.7"), None, id="that of the node"),
    ],
)
def test_the_address_of_a_server(spec: Spec, service: Spec | None, expected: str | None) -> None:
    assert build.slot_address(models.server(**spec), service) == expected


def test_an_ingress() -> None:
    assert build.build_ingress(models.server()) is None
    ingress = {**INGRESS, "className": "nginx", "annotations": {"a": "b"}, "tls": {"secretName": "mine"}}
    found = build.build_ingress(models.server(signal={"ingress": ingress}))
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
    found = build.build_ingress(models.server(signal={"ingress": INGRESS}))
    assert found is not None
    assert set(found["spec"]) == {"rules"}


def test_a_route_does_not_end_calls() -> None:
    assert build.build_http_route(models.server()) is None
    parent = {"name": "public", "namespace": "edge", "sectionName": "https", "port": 8443}
    gateway = {**GATEWAY, "parentRefs": [parent], "annotations": {"a": "b"}}
    found = build.build_http_route(models.server(signal={"gateway": gateway}))
    assert found is not None
    assert (found["apiVersion"], found["kind"]) == ("gateway.networking.k8s.io/v1", "HTTPRoute")
    assert found["metadata"]["annotations"] == {"a": "b"}
    assert found["spec"]["parentRefs"] == [parent]
    assert found["spec"]["hostnames"] == ["voice.example.com"]
    [rule] = found["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s"}
    assert rule["backendRefs"] == [{"name": "voice-livekit", "port": 7880}]


def test_certificates_are_requested_where_an_issuer_is_named() -> None:
    issuer = {"issuerRef": {"name": "ca", "kind": "ClusterIssuer"}}
    turn = {"domain": "turn.example.com", "tls": {"certificate": issuer}}
    server = models.server(signal={"ingress": {**INGRESS, "tls": issuer}}, turn=turn)
    reference = {"name": "ca", "kind": "ClusterIssuer", "group": "cert-manager.io"}
    assert [(item["metadata"]["name"], item["spec"]) for item in build.build_certificates(server)] == [
        (name, {"secretName": name, "dnsNames": [host], "issuerRef": reference})
        for name, host in (("voice-signal-tls", "voice.example.com"), ("voice-turn-tls", "turn.example.com"))
    ]
    ingress = build.build_ingress(server)
    assert ingress is not None
    assert ingress["spec"]["tls"][0]["secretName"] == "voice-signal-tls"
    assert build.turn_certificate_secret(server) == "voice-turn-tls"


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
    assert build.build_certificates(server) == []
    assert build.turn_certificate_secret(server) == secret


def test_turn_over_tls_is_led_to_serving_servers() -> None:
    assert build.build_turn_service(models.server()) is None
    assert build.build_turn_service(models.server(turn=TURN_TLS)) is None
    tls = {"external": True, "port": 5350, "service": CLOUD}
    found = build.build_turn_service(models.server(turn={**TURN_TLS, "tls": tls}))
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


def test_policies_open_the_servers_ports_and_no_others() -> None:
    turn = {**TURN_TLS, "udp": True}
    server = models.server(**NODE_PORT, turn=turn, prometheus={"allowedNamespaces": ["monitoring"]})
    slots = {1: SlotPorts((31000, 31000), 31001, 31002), 0: SlotPorts((7882, 7885), 7881)}
    shared, first, second = build.build_network_policies(server, "operators", slots)
    assert shared["metadata"]["name"] == "voice-livekit"
    assert shared["spec"] == {
        "podSelector": {"matchLabels": POD},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": [{"protocol": "TCP", "port": "signal"}, {"protocol": "TCP", "port": "turn-tls"}]},
            {
                "ports": [{"protocol": "TCP", "port": "metrics"}],
                "from": [
                    {
                        "namespaceSelector": {
                            "matchExpressions": [
                                {
                                    "key": "kubernetes.io/metadata.name",
                                    "operator": "In",
                                    "values": ["monitoring", "operators"],
                                }
                            ]
                        }
                    }
                ],
            },
        ],
    }
    assert [policy["metadata"]["name"] for policy in (first, second)] == ["voice-livekit-0", "voice-livekit-1"]
    assert first["spec"]["podSelector"] == {"matchLabels": {**POD, "livekit-operator.dev/slot": "0"}}
    assert first["spec"]["ingress"] == [
        {"ports": [{"protocol": "UDP", "port": 7882, "endPort": 7885}, {"protocol": "TCP", "port": 7881}]}
    ]
    assert second["spec"]["ingress"] == [
        {
            "ports": [
                {"protocol": "UDP", "port": 31000},
                {"protocol": "TCP", "port": 31001},
                {"protocol": "UDP", "port": 31002},
            ]
        }
    ]


def test_metrics_are_for_all_namespaces_when_none_is_named() -> None:
    [shared] = build.build_network_policies(models.server(**NODE_PORT, prometheus={}), "operators", {})
    assert shared["spec"]["ingress"][1]["from"] == [{"namespaceSelector": {}}]


def test_metrics_of_servers_that_share_rooms_are_for_the_operator() -> None:
    [shared] = build.build_network_policies(models.server(**NODE_PORT, redis={"managed": {}}), "operators", {})
    [source] = shared["spec"]["ingress"][1]["from"]
    assert source["namespaceSelector"]["matchExpressions"][0]["values"] == ["operators"]
    [plain] = build.build_network_policies(models.server(**NODE_PORT), "operators", {})
    assert len(plain["spec"]["ingress"]) == 1


def test_ports_are_named_as_the_container_names_them() -> None:
    server = models.server(**NODE_PORT, turn=TURN_TLS, prometheus={})
    names = {name for name, _, _ in server_config.single_ports(server)}
    [shared] = build.build_network_policies(server, "operators", {})
    used = {port["port"] for rule in shared["spec"]["ingress"] for port in rule["ports"]}
    assert used == {"signal", "turn-tls", "metrics"} <= names


def test_policies_do_not_hold_on_the_host_network() -> None:
    assert build.build_network_policies(models.server(prometheus={}), "operators", {0: SlotPorts((1, 2), 3)}) == []


@pytest.mark.parametrize(
    ("spec", "unavailable"),
    [
        ({}, 0),
        ({"redis": {"managed": {}}}, 0),
        ({"redis": {"managed": {}}, "replicas": 2}, 1),
    ],
)
def test_servers_with_calls_are_not_evicted_together(spec: Spec, unavailable: int) -> None:
    found = build.build_disruption_budget(models.server(**spec))
    assert found is not None
    assert found["spec"] == {
        "maxUnavailable": unavailable,
        "selector": {
            "matchLabels": POD,
            "matchExpressions": [{"key": "livekit-operator.dev/serving", "operator": "Exists"}],
        },
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }


def test_no_servers_need_no_budget() -> None:
    assert build.build_disruption_budget(models.server(replicas=0)) is None


def test_servers_cannot_talk_to_kubernetes() -> None:
    found = build.build_service_account(models.server())
    assert found["metadata"]["name"] == "voice-livekit"
    assert found["automountServiceAccountToken"] is False


def test_the_url_for_pods() -> None:
    assert build.internal_url(models.server(signal={"port": 7999})) == "ws://voice-livekit.team.svc:7999"


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
    assert build.external_url(models.server(**spec), node_address=node, signal_service=service) == expected


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
    assert lines(build.firewall(models.server(**spec), slots, signal_service=service)) == expected


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
    found = build.firewall(models.server(signal=signal), {}, signal_service=SIGNAL_31880)
    assert [(line["port"], line["neededBy"]) for line in found if line["name"] == "signal"] == expected


def lines(found: list[Spec]) -> list[tuple[str, str, int, int | None, str]]:
    return [(x["name"], x["protocol"], x["port"], x.get("endPort"), x["neededBy"]) for x in found]


def test_the_service_of_the_signalling_may_have_a_port_of_its_own() -> None:
    server = models.server(signal={"port": 7999, "service": {"type": "LoadBalancer", "port": 443}})
    (port,) = build.build_signal_service(server)["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (443, "signal")
    assert build.internal_url(server) == "ws://voice-livekit.team.svc:443"
    balanced = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}}
    assert build.external_url(server, node_address=None, signal_service=balanced) == "ws://203.0.113.9:443"
    wss = models.server(
        signal={"externalUrl": "wss://voice.example.com", "service": {"type": "LoadBalancer", "port": 443}}
    )
    lines = [line for line in build.firewall(wss, {}, signal_service=balanced) if line["name"] == "signal"]
    assert [line["port"] for line in lines] == [443], "the URL's port is the Service's"
    gateway = {"parentRefs": [{"name": "public"}], "host": "voice.example.com"}
    route = build.build_http_route(models.server(signal={"gateway": gateway, "service": {"port": 80}}))
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
    assert build.lacks_external_url(models.server(**spec)) is lacking


def test_a_load_balancer_may_be_for_udp_alone() -> None:
    media = {"exposure": "LoadBalancer", "loadBalancer": {"iceTcp": False, "annotations": {"a": "b"}}}
    server = models.server(media=media, turn={})
    service = build.build_slot_service(server, 0, None)
    assert service is not None
    assert {port["protocol"] for port in service["spec"]["ports"]} == {"UDP"}
    assert service["metadata"]["annotations"] == {"a": "b"}
    ports = build.slot_ports(server, service)
    assert ports == SlotPorts((7882, 7882), None, 3478)
    assert {line["protocol"] for line in build.firewall(server, {0: ports}) if line["name"] != "signal"} == {"UDP"}
    config = server_config.build_config(server, operator_webhook_url=None, redis_address=None)
    assert config["rtc"]["tcp_port"] == 0, "its own default would be 7881"
    assert "ice-tcp" not in [name for name, *_ in server_config.host_ports(server)]
    policies = build.build_network_policies(server, "operators", {0: ports})
    (rule,) = policies[-1]["spec"]["ingress"]
    assert {port["protocol"] for port in rule["ports"]} == {"UDP"}
