"""How media reaches a server: a slot, its Service and ports for each."""

import pytest

from livekit_operator.errors import Blocked
from livekit_operator.servers.manifests import config as server_config
from livekit_operator.servers.manifests import media as build
from livekit_operator.servers.manifests import policies as server_policies
from livekit_operator.servers.manifests import reach
from livekit_operator.servers.manifests.media import SlotPorts
from tests.fakes import models
from tests.unit.operator.servers.manifests.network_specs import (
    CLOUD,
    LOAD_BALANCER,
    NODE_PORT,
    POD,
    TURN_TLS,
    Spec,
    balanced,
)

TURN: Spec = {"turn": {"udp": True}}


def ports_of(service: Spec | None) -> list[tuple[str, str, int, int, int | None]]:
    assert service is not None
    return [(p["name"], p["protocol"], p["port"], p["targetPort"], p.get("nodePort")) for p in service["spec"]["ports"]]


def assigned(service: Spec, first: int = 31000) -> Spec:
    """Return a Service with the node ports that the API server chooses where none is named."""
    ports = [{"nodePort": first + index, **port} for index, port in enumerate(service["spec"]["ports"])]
    return {**service, "spec": {**service["spec"], "ports": ports}}


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
    assert error.value.problem.reason == "NodePortsExhausted"


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


def test_a_load_balancer_may_be_for_udp_alone() -> None:
    media = {"exposure": "LoadBalancer", "loadBalancer": {"iceTcp": False, "annotations": {"a": "b"}}}
    server = models.server(media=media, turn={})
    service = build.build_slot_service(server, 0, None)
    assert service is not None
    assert {port["protocol"] for port in service["spec"]["ports"]} == {"UDP"}
    assert service["metadata"]["annotations"] == {"a": "b"}
    ports = build.slot_ports(server, service)
    assert ports == SlotPorts((7882, 7882), None, 3478)
    assert {line.protocol for line in reach.firewall(server, {0: ports}) if line.name != "signal"} == {"UDP"}
    config = server_config.build_config(server, operator_webhook_url=None, redis_address=None)
    assert config["rtc"]["tcp_port"] == 0, "its own default would be 7881"
    assert "ice-tcp" not in [name for name, *_ in server_config.host_ports(server)]
    policies = server_policies.build_network_policies(server, "operators", {0: ports})
    (rule,) = policies[-1]["spec"]["ingress"]
    assert {port["protocol"] for port in rule["ports"]} == {"UDP"}
