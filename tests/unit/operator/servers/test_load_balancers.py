"""Load balancers that do not come, or have one address for several Services."""

from typing import Any

from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World

BALANCED: dict[str, Any] = {"media": {"exposure": "LoadBalancer"}}
ADDRESS = {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}
MIXED = "mixed protocol is not supported for LoadBalancer"


async def started(world: World) -> Manifest:
    """Return the pod of a server whose Service has got the only address."""
    world.kubernetes.put(manifests.server(**BALANCED))
    await world.settle()
    world.kubernetes.edit("Service", NAMESPACE, "voice-livekit-0", ADDRESS, status=True)
    await world.settle()
    world.run_server()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    (pod,) = world.server_pods()
    return pod


async def changed(world: World, seconds: float = 60) -> None:
    """Change the configuration, let it be checked, and let time pass."""
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"logging": {"level": "warn"}}})
    await world.settle()
    await world.pass_check()
    await world.settle()
    world.clock.advance(seconds)
    await world.settle()


def warn(world: World, service: str, message: str) -> None:
    """Let the cloud's controller say something of a Service."""
    found = world.get("Service", service)
    about = {"kind": "Service", "name": service, "namespace": NAMESPACE, "uid": found["metadata"]["uid"]}
    event = {"type": "Warning", "reason": "SyncLoadBalancerFailed", "message": message, "involvedObject": about}
    moment = {"lastTimestamp": "2026-01-01T00:00:00Z"}
    world.kubernetes.put({"kind": "Event", "metadata": {"name": service, "namespace": NAMESPACE}, **event, **moment})


async def test_an_empty_server_gives_the_only_address_to_its_successor(world: World) -> None:
    before = await started(world)
    await changed(world, 59)
    assert not world.server_pods(leaving=True), "the cloud may be slow"
    world.clock.advance(1)
    await world.settle()
    assert [pod["metadata"]["uid"] for pod in world.server_pods(leaving=True)] == [before["metadata"]["uid"]]
    world.run_server()
    await world.settle()
    world.run_server()
    await world.settle()
    (after,) = world.server_pods()
    assert after["metadata"]["name"] == "voice-livekit-0"
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("False", "UpToDate")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")


async def test_calls_are_waited_for(world: World) -> None:
    await started(world)
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.livekit.join("support-42", "alice")
    await changed(world)
    assert not world.server_pods(leaving=True)
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("True", "WaitingForRooms")
    world.livekit.leave("support-42", "alice")
    await world.settle()
    assert world.server_pods(leaving=True)


async def test_nothing_gives_way_to_a_configuration_that_was_not_read(world: World) -> None:
    await started(world)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"extraConfig": {"nonsense": 1}}})
    await world.settle()
    await world.pass_check(output="could not parse config: field nonsense not found in type config.Config")
    world.clock.advance(60)
    await world.settle()
    assert not world.server_pods(leaving=True)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"extraConfig": None}})


async def test_what_the_cloud_says_of_a_service_is_quoted(world: World) -> None:
    world.kubernetes.put(manifests.server(**BALANCED))
    await world.settle()
    assert "check that this cluster has a controller for load balancers" in world.message("LiveKitServer", "voice")
    warn(world, "voice-livekit-0", MIXED)
    world.clock.advance(15)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "NoExternalAddress")
    assert MIXED in world.message("LiveKitServer", "voice")
    assert "iceTcp" in world.message("LiveKitServer", "voice")


async def test_a_signalling_without_an_address_is_said_in_the_clouds_words(world: World) -> None:
    signal = {"service": {"type": "LoadBalancer"}}
    world.kubernetes.put(manifests.server(signal=signal, media={"exposure": "NodePort"}))
    await world.settle()
    world.give_node_ports()
    await world.settle()
    world.run_server()
    warn(world, "voice-livekit", 'no available IPs in pool "public"')
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing"), "the cloud may be slow"
    world.clock.advance(60)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "NoExternalAddress")
    assert "no available IPs in pool" in world.message("LiveKitServer", "voice")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "NoExternalAddress")
    world.kubernetes.edit("Service", NAMESPACE, "voice-livekit", ADDRESS, status=True)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
