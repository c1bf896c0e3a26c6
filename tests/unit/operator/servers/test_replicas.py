"""What is seen of each replica: whether it serves, is lost, or is to leave."""

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.reconciling.references import understood
from livekit_operator.servers.replicas import observe_replicas
from livekit_operator.views import ServerLoad
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.servers.replicas import SHARED, address, names, settled, started, status


async def test_several_servers_serve_at_once(world: World) -> None:
    await started(world, **SHARED)
    assert names(world) == ["voice-livekit-0", "voice-livekit-1"]
    assert (status(world)["readyReplicas"], status(world)["redis"]) == (2, "redis.example.com:6379")
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("False", "UpToDate")
    assert await world.writes_of_another_round() == []


async def test_a_server_that_dies_without_a_word_gets_no_new_clients(world: World) -> None:
    await started(world, **SHARED)
    world.kubernetes.put(manifests.room())
    await settled(world)
    lost = world.server_pods()[1]
    del world.loads.answers[address(world, lost)]
    world.livekit.requests.clear()
    again = await world.reconcile("LiveKitServer", "voice")
    assert again == 1.0, "it is asked again at once"
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("LiveKitServer", "voice")
    labels = world.server_pods()[1]["metadata"]["labels"]
    assert labels["livekit-operator.dev/serving"] == "false"
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "ServerUnreachable")
    world.loads.answers[address(world, lost)] = ServerLoad(0, 0)
    await world.settle()
    assert world.server_pods()[1]["metadata"]["labels"]["livekit-operator.dev/serving"] == "true"
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")


async def test_a_node_that_is_to_be_emptied_loses_its_server(world: World) -> None:
    node = {"kind": "Node", "metadata": {"name": "node-1", "labels": {}}, "spec": {}}
    world.kubernetes.put(node)
    await started(world, **SHARED)
    world.kubernetes.edit("Node", "", "node-1", {"spec": {"unschedulable": True}})
    await world.reconcile("LiveKitServer", "voice")
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("True", "RollingOut")
    await world.settle()
    assert "voice-livekit-2" in names(world)


async def test_redis_stays_until_no_server_uses_it(world: World) -> None:
    await started(world, redis={"managed": {}})
    (pod,) = world.server_pods()
    world.loads.answers[address(world, pod)] = ServerLoad(1, 2)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"redis": None}})
    await world.settle()
    assert world.get("Deployment", "voice-redis")
    await world.pass_check()
    await world.settle()
    for new in world.server_pods():
        world.run_server_pod(new)
    await world.settle()
    assert world.get("Deployment", "voice-redis"), "a call still needs it"
    world.loads.answers[address(world, pod)] = ServerLoad(0, 0)
    world.clock.advance(3)
    await settled(world)
    assert world.kubernetes.names("Deployment") == []


async def test_redis_that_comes_lets_the_running_server_finish(world: World) -> None:
    await started(world)
    world.kubernetes.put(manifests.room())
    await settled(world)
    world.livekit.join("support-42", "alice")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": SHARED})
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready"), "it has no metrics, and is not taken for lost"
    await world.pass_check()
    await world.settle()
    for new in world.server_pods():
        world.run_server_pod(new)
        world.loads.answers[address(world, new)] = ServerLoad(0, 0)
    await world.settle()
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("True", "WaitingForRooms")
    world.livekit.leave("support-42", "alice")
    world.clock.advance(3)
    await settled(world)
    assert status(world)["readyReplicas"] == 2


async def test_a_login_that_metrics_refuse_is_no_loss(world: World) -> None:
    await started(world, **SHARED)
    for pod in world.server_pods():
        world.loads.answers[address(world, pod)] = ServerLoad()
    for _ in range(3):
        await world.reconcile("LiveKitServer", "voice")
    assert status(world)["readyReplicas"] == 2
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")


async def test_an_operator_that_reaches_nobody_takes_nobody_away(world: World) -> None:
    await started(world, **SHARED)
    world.loads.answers.clear()
    for _ in range(4):
        await world.reconcile("LiveKitServer", "voice")
    assert [pod["metadata"]["labels"]["livekit-operator.dev/serving"] for pod in world.server_pods()] == ["true"] * 2


async def test_servers_that_are_there_and_nobodys_are_not_lost(world: World) -> None:
    await started(world, **SHARED)
    server = understood(world.context, LiveKitServer, world.get("LiveKitServer", "voice"))
    pods = names(world)
    for name in pods:
        world.kubernetes.edit("Pod", NAMESPACE, name, {"metadata": {"ownerReferences": []}})
    assert not (await observe_replicas(world.context, server, None, None)).lost
    world.kubernetes.vanish("Pod", NAMESPACE, pods[0])
    assert (await observe_replicas(world.context, server, None, None)).lost
