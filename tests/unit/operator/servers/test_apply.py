"""What a pass does about pods and what stands around them, as it was decided."""

from livekit_operator.servers.apply import WITHDRAWAL_SECONDS
from livekit_operator.views import ServerLoad
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.servers.refusals import LIMIT_RANGE
from tests.unit.operator.servers.replicas import SHARED, address, names, started, status


async def test_the_emptiest_of_several_leaves(world: World) -> None:
    await started(world, **{**SHARED, "replicas": 3})
    for pod, participants in zip(world.server_pods(), (4, 0, 2), strict=True):
        world.loads.answers[address(world, pod)] = ServerLoad(1, participants)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 2}})
    await world.settle()
    assert names(world) == ["voice-livekit-0", "voice-livekit-2"]


async def test_new_clients_are_led_elsewhere_before_a_server_ends(world: World) -> None:
    await started(world, **SHARED)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 1}})
    assert await world.reconcile("LiveKitServer", "voice") == WITHDRAWAL_SECONDS
    kept, going = world.server_pods()
    assert going["metadata"]["labels"]["livekit-operator.dev/serving"] == "false"
    assert kept["metadata"]["labels"]["livekit-operator.dev/serving"] == "true"
    world.clock.advance(WITHDRAWAL_SECONDS / 2)
    assert await world.reconcile("LiveKitServer", "voice") == WITHDRAWAL_SECONDS / 2
    assert len(names(world)) == 2, "nodes may still lead clients to it"
    world.clock.advance(WITHDRAWAL_SECONDS / 2)
    await world.reconcile("LiveKitServer", "voice")
    assert names(world) == ["voice-livekit-0"]


async def test_nothing_is_waited_for_when_no_server_is_left_for_new_clients(world: World) -> None:
    await started(world, **SHARED)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 0}})
    await world.reconcile("LiveKitServer", "voice")
    assert names(world) == []


async def test_who_leaves_is_told_with_what_it_waits_for(world: World) -> None:
    await started(world, **SHARED)
    for pod in world.server_pods():
        world.loads.answers[address(world, pod)] = ServerLoad(2, 3)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 1}})
    await world.settle()
    (event,) = [event for event in world.events() if event[1] == "Draining"]
    assert "voice-livekit-1 takes no new rooms" in event[2]
    (line,) = [line for line in status(world)["servers"] if line["state"] == "Draining"]
    assert (line["rooms"], line["participants"]) == (2, 3)


async def test_who_leaves_is_told_though_it_does_not_answer_just_then(world: World) -> None:
    await started(world, **SHARED)
    _, going = world.server_pods()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 1}})
    await world.reconcile("LiveKitServer", "voice")
    world.clock.advance(WITHDRAWAL_SECONDS)
    world.loads.answers[address(world, going)] = None
    await world.reconcile("LiveKitServer", "voice")
    (event,) = [event for event in world.events() if event[1] == "Draining"]
    assert event[2].startswith("voice-livekit-1 takes no new rooms")
    assert event[2].endswith("it does not tell which now.")


async def test_a_refused_server_is_told_with_its_container(world: World) -> None:
    world.kubernetes.fail("create", "Pod", LIMIT_RANGE)
    world.kubernetes.put(manifests.server(resources={"requests": {"cpu": "50m"}}))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "KubernetesRefused")
    message = world.message("LiveKitServer", "voice")
    assert "container livekit-server (requests cpu 50m)" in message
    assert "spec.resources" in message
    world.kubernetes.heal()
    await world.settle()
