"""What servers' pods are kept from, and what keeps them."""

import pytest

from livekit_operator.servers.manifests import config as server_config
from livekit_operator.servers.manifests import policies as server_policies
from livekit_operator.servers.manifests.media import SlotPorts
from tests.fakes import models
from tests.unit.operator.servers.manifests.network_specs import NODE_PORT, POD, TURN_TLS, Spec


def test_policies_open_the_servers_ports_and_no_others() -> None:
    turn = {**TURN_TLS, "udp": True}
    server = models.server(**NODE_PORT, turn=turn, prometheus={"allowedNamespaces": ["monitoring"]})
    slots = {1: SlotPorts((31000, 31000), 31001, 31002), 0: SlotPorts((7882, 7885), 7881)}
    shared, first, second = server_policies.build_network_policies(server, "operators", slots)
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
    [shared] = server_policies.build_network_policies(models.server(**NODE_PORT, prometheus={}), "operators", {})
    assert shared["spec"]["ingress"][1]["from"] == [{"namespaceSelector": {}}]


def test_metrics_of_servers_that_share_rooms_are_for_the_operator() -> None:
    [shared] = server_policies.build_network_policies(
        models.server(**NODE_PORT, redis={"managed": {}}), "operators", {}
    )
    [source] = shared["spec"]["ingress"][1]["from"]
    assert source["namespaceSelector"]["matchExpressions"][0]["values"] == ["operators"]
    [plain] = server_policies.build_network_policies(models.server(**NODE_PORT), "operators", {})
    assert len(plain["spec"]["ingress"]) == 1


def test_ports_are_named_as_the_container_names_them() -> None:
    server = models.server(**NODE_PORT, turn=TURN_TLS, prometheus={})
    names = {name for name, _, _ in server_config.single_ports(server)}
    [shared] = server_policies.build_network_policies(server, "operators", {})
    used = {port["port"] for rule in shared["spec"]["ingress"] for port in rule["ports"]}
    assert used == {"signal", "turn-tls", "metrics"} <= names


def test_policies_do_not_hold_on_the_host_network() -> None:
    assert (
        server_policies.build_network_policies(models.server(prometheus={}), "operators", {0: SlotPorts((1, 2), 3)})
        == []
    )


@pytest.mark.parametrize(
    ("spec", "unavailable"),
    [
        ({}, 0),
        ({"redis": {"managed": {}}}, 0),
        ({"redis": {"managed": {}}, "replicas": 2}, 1),
    ],
)
def test_servers_with_calls_are_not_evicted_together(spec: Spec, unavailable: int) -> None:
    found = server_policies.build_disruption_budget(models.server(**spec))
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
    assert server_policies.build_disruption_budget(models.server(replicas=0)) is None


def test_servers_cannot_talk_to_kubernetes() -> None:
    found = server_policies.build_service_account(models.server())
    assert found["metadata"]["name"] == "voice-livekit"
    assert found["automountServiceAccountToken"] is False
