"""A server's Redis: who else is there, and what is said when it does not do what it should."""

from typing import Any

from livekit_operator.views import ServerLoad
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World


async def settled(world: World, *names: str) -> None:
    """Let the cluster and the operator work until nothing changes."""
    for _ in range(6):
        await world.settle()
        world.give_node_ports()
        for name in names or ("voice", "green"):
            for pod in world.server_pods(name):
                world.run_server_pod(pod)
                running = world.get("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
                world.loads.answers.setdefault(running["status"]["podIP"], ServerLoad(0, 0))
    await world.settle()


def at_one_redis(name: str, namespace: str = NAMESPACE, host: str = "one-redis", **spec: Any) -> Manifest:
    """Return a server that has ports of its own, and a Redis that others may have too."""
    redis = {"address": f"{host}:6379", **spec}
    return manifests.server(name, namespace, redis=redis, media={"exposure": "NodePort"})


async def test_the_later_of_two_servers_at_one_redis_is_told_whatever_its_database(world: World) -> None:
    world.kubernetes.put(at_one_redis("voice", db=0))
    await settled(world)
    world.clock.advance(60)
    world.kubernetes.put(at_one_redis("green", host="one-redis.team.svc.cluster.local", db=1))
    await settled(world)
    assert world.ready("LiveKitServer", "green") == ("False", "RedisShared")
    assert "LiveKitServer voice uses the same Redis" in world.message("LiveKitServer", "green")
    assert world.server_pods("green") == []
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "green", {"spec": {"redis": {"address": "another:6379"}}})
    await settled(world)
    assert world.server_pods("green") != []


async def test_a_tenant_does_not_hear_the_name_of_anothers_server(world: World) -> None:
    world.kubernetes.put(at_one_redis("voice"))
    await settled(world)
    world.clock.advance(60)
    world.kubernetes.put(at_one_redis("green", "other", host="one-redis.team"))
    await settled(world)
    assert world.ready("LiveKitServer", "green", "other") == ("False", "RedisShared")
    message = world.message("LiveKitServer", "green", "other")
    assert "voice" not in message
    assert NAMESPACE not in message.replace("one-redis.team", "")


async def test_a_server_that_moves_to_anothers_redis_stays_where_it_is(world: World) -> None:
    world.kubernetes.put(at_one_redis("voice"))
    world.clock.advance(60)
    world.kubernetes.put(at_one_redis("green", host="another"))
    await settled(world)
    before = [pod["metadata"]["uid"] for pod in world.server_pods("green")]
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "green", {"spec": {"redis": {"address": "one-redis:6379"}}})
    await settled(world)
    assert [pod["metadata"]["uid"] for pod in world.server_pods("green")] == before
    assert world.ready("LiveKitServer", "green") == ("True", "Ready")
    assert world.condition("LiveKitServer", "green", "Degraded") == ("True", "RedisShared")
