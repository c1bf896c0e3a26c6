"""What clients are told leads to the servers, or the status says that it does not."""

from typing import Any

from livekit_operator.views import ServerLoad
from tests.fakes import manifests
from tests.fakes.world import World
from tests.unit.operator.reconcilers.test_server_redis import OUTSIDE, settled


async def test_no_url_for_clients_is_said_as_such(world: World) -> None:
    world.kubernetes.put(
        manifests.server(signal={"service": {"type": "ClusterIP"}, "externalUrl": None}, media={"exposure": "NodePort"})
    )
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
        "signal": {"externalUrl": None},
    }
    world.kubernetes.put(manifests.server(**found))
    await settled(world, "voice")
    (port,) = world.get("Service", "voice-livekit")["spec"]["ports"]
    url = f"ws://203.0.113.11:{port['nodePort']}"
    assert world.get("LiveKitServer", "voice")["status"]["externalUrl"] == url
    (pod,) = world.server_pods()
    (container,) = pod["spec"]["containers"]
    assert "NODE_IP" not in [variable["name"] for variable in container["env"]], "it would be the private one"
    world.kubernetes.edit("LiveKitServer", "team", "voice", {"spec": {"media": {"discoverExternalIp": None}}})
    await settled(world, "voice")
    assert world.get("LiveKitServer", "voice")["status"]["externalUrl"] == url.replace("203.0.113.11", "192.0.2.1")
