"""What clients are told leads to the servers, or the status says that it does not."""

from typing import Any

import pytest

from livekit_operator.views import ServerLoad
from tests.fakes import manifests
from tests.fakes.world import World
from tests.unit.operator.servers.test_redis import OUTSIDE, settled


async def test_no_url_for_clients_is_said_as_such(world: World) -> None:
    world.kubernetes.put(manifests.server(signal={"service": {"type": "ClusterIP"}}, media={"exposure": "NodePort"}))
    await settled(world, "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "ExternalUrlMissing")
    assert "spec.signal.externalUrl" in world.message("LiveKitServer", "voice")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "ExternalUrlMissing")


async def test_one_address_for_servers_on_several_nodes_is_said(world: World) -> None:
    spec: dict[str, Any] = {"replicas": 2, "media": {"exposure": "NodePort", "nodeIp": "203.0.113.11"}, **OUTSIDE}
    world.kubernetes.put(manifests.server(**spec))
    await world.settle()
    world.give_node_ports()
    await world.settle()
    for number, pod in enumerate(world.server_pods()):
        world.run_server_pod(pod, node=f"node-{number}")
        world.loads.answers[world.get("Pod", pod["metadata"]["name"])["status"]["podIP"]] = ServerLoad(0, 0)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "NodeIpShared")


async def test_a_node_behind_a_nat_is_told_by_its_public_address(world: World) -> None:
    addresses = [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "ExternalIP", "address": "203.0.113.11"}]
    node = {"kind": "Node", "metadata": {"name": "node-1"}, "spec": {}, "status": {"addresses": addresses}}
    world.kubernetes.put(node)
    found: dict[str, Any] = {
        "media": {"exposure": "NodePort", "discoverExternalIp": True},
        "signal": {},
    }
    world.kubernetes.put(manifests.server(**found))
    await settled(world, "voice")
    (port,) = world.get("Service", "voice-livekit")["spec"]["ports"]
    url = f"ws://203.0.113.11:{port['nodePort']}"
    assert world.get("LiveKitServer", "voice")["status"]["externalUrl"] == url
    assert world.get("LiveKitServer", "voice")["status"]["servers"][0]["address"] == "203.0.113.11"
    (pod,) = world.server_pods()
    (container,) = pod["spec"]["containers"]
    assert "NODE_IP" not in [variable["name"] for variable in container["env"]], "it would be the private one"
    world.kubernetes.edit("LiveKitServer", "team", "voice", {"spec": {"media": {"discoverExternalIp": None}}})
    await settled(world, "voice")
    assert world.get("LiveKitServer", "voice")["status"]["externalUrl"] == url.replace("203.0.113.11", "192.0.2.1")


NODE_PORTS: dict[str, Any] = {"media": {"exposure": "NodePort"}, "signal": {}}


async def at_node_ports(world: World) -> tuple[str, int]:
    """Put a server there whose node refuses clients; return the address and the port which they are told."""
    world.kubernetes.put(manifests.server(**NODE_PORTS))
    await world.settle()
    world.give_node_ports()
    (port,) = world.get("Service", "voice-livekit")["spec"]["ports"]
    place = ("192.0.2.1", port["nodePort"])
    world.doors.refusing.add(place)
    await settled(world, "voice")
    return place


async def test_a_node_that_does_not_lead_there_yet_is_waited_for(world: World) -> None:
    place = await at_node_ports(world)
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")
    assert f"ws://{place[0]}:{place[1]}" in world.message("LiveKitServer", "voice")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")
    assert await world.reconcile("LiveKitServer", "voice") == 0.5
    world.doors.refusing.clear()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_whoever_was_led_there_once_is_not_asked_again(world: World) -> None:
    place = await at_node_ports(world)
    world.doors.refusing.clear()
    await world.settle()
    world.doors.tried.clear()
    world.doors.refusing.add(place)
    await world.settle()
    assert (world.doors.tried, world.ready("LiveKitServer", "voice")) == ([], ("True", "Ready"))
    world.stop_server()
    await world.settle()
    await settled(world, "voice")
    assert place in world.doors.tried, "another server at the same address is led to anew"
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")


async def test_a_refusal_that_lasts_is_told_and_may_be_the_operators_alone(world: World) -> None:
    await at_node_ports(world)
    world.clock.advance(31)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "ExternalUrlRefused")
    world.doors.refusing.clear()
    await world.settle()
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")


async def test_an_operator_that_starts_says_nothing_new_of_a_refusal(world: World) -> None:
    await at_node_ports(world)
    world.clock.advance(31)
    await world.settle()
    world.context.dialed.clear()  # as after a start
    world.forget()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "ExternalUrlRefused")
    assert world.written() == []


@pytest.mark.parametrize("spec", [{"signal": {"externalUrl": "wss://a.test"}}, {"media": {"exposure": "HostNetwork"}}])
async def test_what_others_lead_to_servers_is_not_asked(world: World, spec: dict[str, Any]) -> None:
    world.kubernetes.put(manifests.server(**{**NODE_PORTS, **spec}))
    await settled(world, "voice")
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.doors.tried == []


async def test_a_room_is_as_ready_as_its_server(world: World) -> None:
    place = await at_node_ports(world)
    world.kubernetes.put(manifests.room())
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("False", "ServerNotReady")
    assert "Progressing" in world.message("MeetingRoom", "support-42")
    world.doors.refusing.discard(place)
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")


async def test_an_address_that_only_the_server_knows_is_not_told(world: World) -> None:
    world.kubernetes.put(manifests.server(media={"exposure": "NodePort", "discoverExternalIp": True}))
    await settled(world, "voice")
    assert "address" not in world.get("LiveKitServer", "voice")["status"]["servers"][0], "its node's is a private one"


async def test_the_address_that_is_given_leads_to_the_signalling_too(world: World) -> None:
    given: dict[str, Any] = {"exposure": "NodePort", "nodeIp": "203.0.113.11"}
    world.kubernetes.put(manifests.server(media=given, signal={}))
    await settled(world, "voice")
    (port,) = world.get("Service", "voice-livekit")["spec"]["ports"]
    status = world.get("LiveKitServer", "voice")["status"]
    assert status["externalUrl"] == f"ws://203.0.113.11:{port['nodePort']}"
    assert status["servers"][0]["address"] == "203.0.113.11"


async def test_without_an_external_url_it_is_the_nodes(world: World) -> None:
    world.kubernetes.put(manifests.server(signal={}))
    await world.settle()
    assert "externalUrl" not in world.get("LiveKitServer", "voice")["status"]
    world.run_server(address="2001:db8::7")
    await world.settle()
    assert world.get("LiveKitServer", "voice")["status"]["externalUrl"] == "ws://[2001:db8::7]:7880"
    assert world.livekit.closed == len(world.livekit.connections) - 2, "connections that are no longer right are closed"
