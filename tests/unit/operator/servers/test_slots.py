"""The Service, the ports and the address that each server has for itself."""

import asyncio
import socket
from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.errors import Blocked
from livekit_operator.servers.manifests.media import SlotPorts, build_slot_service
from livekit_operator.servers.manifests.pod import SlotInputs
from livekit_operator.servers.slots import find_slot_inputs, known_slot_inputs, slot_service
from tests.fakes import manifests, models
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World
from tests.unit.operator.servers.replicas import SHARED, names, settled, started, status


def variable(pod: Manifest, name: str) -> str | None:
    (container,) = pod["spec"]["containers"]
    return next((v.get("value") for v in container["env"] if v["name"] == name), None)


async def test_each_server_has_node_ports_of_its_own(world: World) -> None:
    await started(world, **SHARED, media={"exposure": "NodePort"})
    ports = {variable(pod, "UDP_PORT") for pod in world.server_pods()}
    assert len(ports) == 2
    assert None not in ports
    for pod in world.server_pods():
        service = world.get("Service", pod["metadata"]["name"])
        (media,) = [port for port in service["spec"]["ports"] if port["protocol"] == "UDP"]
        assert str(media["nodePort"]) == str(media["targetPort"]) == variable(pod, "UDP_PORT")
    listed = {port["port"] for port in status(world)["ports"] if port["name"] == "media"}
    assert {int(port or 0) for port in ports} <= listed


async def test_other_node_ports_move_servers_without_cutting_them_off(world: World) -> None:
    await started(world, media={"exposure": "NodePort"})
    (old,) = world.server_pods()
    before = world.get("Service", old["metadata"]["name"])["spec"]["ports"]
    ranged = {"media": {"exposure": "NodePort", "nodePorts": {"start": 31100, "end": 31200}}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": ranged})
    await world.settle()
    assert world.get("Service", old["metadata"]["name"])["spec"]["ports"] == before, "its calls are still on it"
    await settled(world)
    (new,) = world.server_pods()
    assert new["metadata"]["name"] != old["metadata"]["name"]
    assert 31100 <= int(variable(new, "UDP_PORT") or 0) <= 31200


async def test_a_load_balancer_is_waited_for(world: World) -> None:
    world.kubernetes.put(manifests.server(media={"exposure": "LoadBalancer"}))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "NoExternalAddress")
    assert names(world) == []
    ingress = {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}
    world.kubernetes.edit("Service", NAMESPACE, "voice-livekit-0", ingress, status=True)
    await settled(world)
    assert variable(world.server_pods()[0], "NODE_IP") == "203.0.113.9"
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_a_server_starts_in_the_pass_in_which_the_cluster_chooses_its_node_ports(world: World) -> None:
    def choose(manifest: Manifest) -> None:
        if manifest["kind"] == "Service" and manifest["spec"]["type"] == "NodePort":
            for number, port in enumerate(manifest["spec"]["ports"]):
                port.setdefault("nodePort", 31000 + number)

    world.kubernetes.policies.append(choose)
    world.kubernetes.put(manifests.server(media={"exposure": "NodePort"}))
    await world.reconcile("LiveKitServer", "voice")
    (pod,) = world.server_pods()
    ports = world.get("Service", "voice-livekit-0")["spec"]["ports"]
    assert [(port["targetPort"], port["nodePort"]) for port in ports] == [(31000, 31000), (31001, 31001)]
    assert (variable(pod, "UDP_PORT"), variable(pod, "LIVEKIT_RTC_TCP_PORT")) == ("31000", "31001")


HOST: dict[str, Any] = {}
NODE_PORT: dict[str, Any] = {"media": {"exposure": "NodePort"}}
BALANCED: dict[str, Any] = {"media": {"exposure": "LoadBalancer"}}
BALANCED_PORTS = SlotPorts((7882, 7882), 7881)


def service_of(spec: dict[str, Any], **point: str) -> Manifest:
    """Return the Service of the first slot as it was made, with the address of a load balancer."""
    service = build_slot_service(models.server(**spec), 0, None)
    assert service is not None
    return {**service, "status": {"loadBalancer": {"ingress": [point] if point else []}}}


@pytest.mark.parametrize(
    ("spec", "service", "reason", "words"),
    [
        pytest.param(NODE_PORT, None, reasons.PROGRESSING, "Waiting for Service voice-livekit-0.", id="no Service"),
        pytest.param(
            NODE_PORT, service_of(NODE_PORT), reasons.PROGRESSING, "Waiting for the node ports of", id="no node ports"
        ),
        pytest.param(
            BALANCED, service_of(BALANCED), reasons.NO_EXTERNAL_ADDRESS, "has no address yet", id="no address"
        ),
    ],
)
async def test_what_a_server_waits_for(spec: dict[str, Any], service: Manifest | None, reason: str, words: str) -> None:
    with pytest.raises(Blocked, match=words) as blocked:
        await find_slot_inputs(models.server(**spec), 0, service)
    assert blocked.value.problem.reason == reason


@pytest.mark.parametrize(
    ("spec", "service", "expected"),
    [
        pytest.param(HOST, None, SlotInputs(0, SlotPorts((50100, 50200), 7881)), id="host network"),
        pytest.param(
            BALANCED,
            service_of(BALANCED, ip="203.0.113.9"),
            SlotInputs(0, BALANCED_PORTS, "203.0.113.9"),
            id="load balancer",
        ),
        pytest.param(
            BALANCED,
            service_of(BALANCED, ip="2001:DB8::9"),
            SlotInputs(0, BALANCED_PORTS, "2001:db8::9"),
            id="its IPv6 address, as it is compared",
        ),
    ],
)
async def test_what_a_server_has_for_itself(
    spec: dict[str, Any], service: Manifest | None, expected: SlotInputs
) -> None:
    assert await find_slot_inputs(models.server(**spec), 0, service) == expected


@pytest.mark.parametrize(
    ("advertised", "expected"),
    [
        pytest.param(None, "203.0.113.8", id="a new server takes the first"),
        pytest.param("203.0.113.9", "203.0.113.9", id="one that is still right stays"),
        pytest.param("198.51.100.1", "203.0.113.8", id="one that is not goes"),
    ],
)
async def test_of_several_addresses_of_a_name_a_server_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch, advertised: str | None, expected: str
) -> None:
    async def several(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", (ip, 0)) for ip in ("203.0.113.9", "203.0.113.8")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", several)
    service = service_of(BALANCED, hostname="lb.example.com")
    found = await find_slot_inputs(models.server(**BALANCED), 0, service, advertised)
    assert found.address == expected


async def test_a_name_that_cannot_be_resolved_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(Blocked, match=r"lb\.example\.com cannot be resolved: .*not known") as blocked:
        await find_slot_inputs(models.server(**BALANCED), 0, service_of(BALANCED, hostname="lb.example.com"))
    assert (blocked.value.problem.reason, blocked.value.problem.retry_after) == (reasons.NO_EXTERNAL_ADDRESS, 10.0)


async def test_the_address_is_known_of_a_service_whose_ports_are_to_change(world: World) -> None:
    world.kubernetes.put(manifests.server(**BALANCED))
    await world.settle()
    address = {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}
    world.kubernetes.edit("Service", NAMESPACE, "voice-livekit-0", address, status=True)
    changed = {"media": {"exposure": "LoadBalancer", "tcpPort": 7999}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": changed})
    server = LiveKitServer.model_validate(world.get("LiveKitServer", "voice"))
    found = await known_slot_inputs(world.context, server, 0)
    assert found == SlotInputs(0, SlotPorts((7882, 7882), 7999), "203.0.113.9")


async def test_a_service_of_somebody_elses_is_no_slots(world: World) -> None:
    world.kubernetes.put(manifests.server(**NODE_PORT))
    await world.settle()
    server = LiveKitServer.model_validate(world.get("LiveKitServer", "voice"))
    assert slot_service(world.context, server, 0) is not None
    assert slot_service(world.context, server, 2) is None
    world.kubernetes.edit("Service", NAMESPACE, "voice-livekit-0", {"metadata": {"ownerReferences": None}})
    assert slot_service(world.context, server, 0) is None
