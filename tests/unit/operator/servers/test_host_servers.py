"""Which servers are known to be on the host network, and what they take of it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.servers.decisions.port_conflicts import HostServer, PortSpan
from livekit_operator.servers.host_servers import KnownHostServers, host_server, takes_ports
from tests.fakes import manifests, models
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World


async def test_specs_of_others_are_not_read_at_each_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        ports = {"port": 20_000 + 10 * number}
        media = {"tcpPort": 20_001 + 10 * number}
        world.kubernetes.put(manifests.server(f"s{number:02}", signal=ports, media=media))
    validated: list[Any] = []
    parse = LiveKitServer.model_validate

    def count(manifest: Manifest) -> LiveKitServer:
        validated.append(manifest)
        return parse(manifest)

    monkeypatch.setattr(LiveKitServer, "model_validate", count)
    await world.reconcile("LiveKitServer", "s07")
    assert 1 <= len(validated) <= 4, "its own, not all"


@pytest.mark.parametrize(
    ("spec", "takes"),
    [
        ({}, True),
        ({"media": {"exposure": "HostNetwork"}}, True),
        ({"replicas": 0}, False),
        ({"media": {"exposure": "NodePort"}}, False),
        ({"media": {"exposure": "LoadBalancer"}}, False),
    ],
)
def test_who_takes_ports_of_nodes(spec: dict[str, Any], takes: bool) -> None:
    assert takes_ports(models.server(**spec)) is takes


def test_what_a_server_takes_of_its_nodes() -> None:
    manifest = manifests.stored(manifests.server(podTemplate={"nodeSelector": {"zone": "a"}}))
    manifest["metadata"]["creationTimestamp"] = "2026-03-01T12:00:00Z"
    spans = [PortSpan("TCP", 7880, 7880), PortSpan("TCP", 7881, 7881), PortSpan("UDP", 50100, 50200)]
    found = host_server(LiveKitServer.model_validate(manifest))
    assert found == HostServer(KEY, datetime(2026, 3, 1, 12, tzinfo=UTC), found.ports, {"zone": "a"})
    assert sorted(found.ports, key=str) == sorted(spans, key=str)


KEY = (NAMESPACE, "voice")
WITHOUT = manifests.stored(manifests.server(media={"exposure": "NodePort"}))
NOT_UNDERSTOOD = manifests.stored(manifests.server(replicas="many"))
# One that wants the same ports sees who has them.
OTHER = host_server(LiveKitServer.model_validate(manifests.stored(manifests.server("other"))))


@pytest.mark.parametrize("then", [None, WITHOUT, NOT_UNDERSTOOD], ids=["gone", "elsewhere", "not understood"])
def test_a_server_is_known_while_it_is_on_the_host_network(then: Manifest | None) -> None:
    known = KnownHostServers()
    on_the_host = manifests.stored(manifests.server())
    known.see(KEY, on_the_host)
    assert [one.key for one in known.servers.near(OTHER)] == [KEY]
    known.see(KEY, then)
    assert known.servers.near(OTHER) == []
    known.see(KEY, on_the_host)
    assert [one.key for one in known.servers.near(OTHER)] == [KEY]


def test_other_ports_take_the_place_of_those_before() -> None:
    known = KnownHostServers()
    known.see(KEY, manifests.stored(manifests.server()))
    ports: dict[str, Any] = {
        "signal": {"port": 9000},
        "media": {"tcpPort": 9001, "udp": {"portRange": {"start": 9100, "end": 9200}}},
    }
    known.see(KEY, manifests.stored(manifests.server(**ports)))
    assert known.servers.near(OTHER) == []


def test_a_spec_is_read_again_only_when_it_or_the_server_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    parse = LiveKitServer.model_validate

    def count(manifest: Manifest) -> LiveKitServer:
        read.append(manifest)
        return parse(manifest)

    monkeypatch.setattr(LiveKitServer, "model_validate", count)
    known, first = KnownHostServers(), manifests.stored(manifests.server())
    for manifest in (first, {**first, "status": {"replicas": 1}}, first):
        known.see(KEY, manifest)
    assert len(read) == 1, "a status says nothing of ports"
    known.see(KEY, {**first, "metadata": {**first["metadata"], "uid": "another"}})
    assert len(read) == 2
