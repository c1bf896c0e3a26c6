"""A server's Redis: who else is there, and what is said when it does not do what it should."""

from contextvars import Context as Elsewhere
from typing import Any

import pytest

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.manifests.metadata import COMPONENT_SERVER
from livekit_operator.moments import timestamp
from livekit_operator.process.wiring import TABLE, set_back
from livekit_operator.reconciling.braking import note_failed
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


async def test_a_managed_redis_is_not_restarted_for_another_drain_timeout(world: World) -> None:
    world.kubernetes.put(manifests.server(redis={"managed": {}}))
    await world.settle()
    before = world.get("Deployment", "voice-redis")["spec"]
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"drainTimeoutSeconds": 5}})
    await world.settle()
    assert world.get("Deployment", "voice-redis")["spec"] == before
    resources = {"limits": {"memory": "64Mi"}}
    world.kubernetes.edit(
        "LiveKitServer", NAMESPACE, "voice", {"spec": {"redis": {"managed": {"resources": resources}}}}
    )
    await world.settle()
    pod = world.get("Deployment", "voice-redis")["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == resources
    assert pod["terminationGracePeriodSeconds"] < before["template"]["spec"]["terminationGracePeriodSeconds"]


def redis_pod(**status: Any) -> Manifest:
    """Return a pod as a ReplicaSet of the managed Redis makes it."""
    labels = {
        "app.kubernetes.io/name": "redis",
        "app.kubernetes.io/instance": "voice",
        "app.kubernetes.io/component": "redis",
        "app.kubernetes.io/managed-by": "livekit-operator",
    }
    metadata = {"name": "voice-redis-7d9f-x2x", "namespace": NAMESPACE, "labels": labels}
    spec = {"containers": [{"name": "redis", "image": "redis:7"}]}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


TAINTED = "0/2 nodes are available: 2 node(s) had untolerated taint {media: }."
QUOTA = 'pods "voice-redis-7d9f-" is forbidden: violates PodSecurity "restricted:latest"'


@pytest.mark.parametrize(
    ("status", "words"),
    [
        pytest.param(
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": TAINTED}]}, TAINTED, id="taints"
        ),
        pytest.param(
            {
                "containerStatuses": [
                    {"name": "proxy", "state": {"waiting": {"reason": "PodInitializing"}}},
                    {"name": "redis", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}},
                ]
            },
            "ImagePullBackOff: no such tag",
            id="image",
        ),
    ],
)
async def test_why_a_managed_redis_does_not_start_is_said(world: World, status: Manifest, words: str) -> None:
    world.kubernetes.put(manifests.server(redis={"managed": {}}))
    await world.settle()
    world.kubernetes.put(redis_pod(**status))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "RedisUnreachable")
    assert words.rstrip(".") in world.message("LiveKitServer", "voice")
    assert "podTemplate" in world.message("LiveKitServer", "voice")
    world.crash_server("unable to connect to redis: dial tcp 10.96.0.9:6379: connect: connection refused")
    await world.settle()
    assert words.rstrip(".") in world.message("LiveKitServer", "voice"), "the servers know less"
    world.kubernetes.edit("Deployment", NAMESPACE, "voice-redis", {"availableReplicas": 1}, status=True)
    await settled(world, "voice")
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_what_refuses_the_pod_of_a_managed_redis_is_quoted(world: World) -> None:
    world.kubernetes.put(manifests.server(redis={"managed": {}}))
    await world.settle()
    failure = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": QUOTA}]}
    world.kubernetes.edit("Deployment", NAMESPACE, "voice-redis", failure, status=True)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "RedisUnreachable")
    assert QUOTA in world.message("LiveKitServer", "voice")


REFUSED = (
    '{"level":"error","msg":"could not update node","error":"could not register node: READONLY You can\'t write '
    'against a read only replica."}'
)
OUTSIDE: dict[str, Any] = {"redis": {"address": "redis.example.com:6379"}}


async def looked(world: World, seconds: float) -> None:
    """Let time pass, and the operator look."""
    world.clock.advance(seconds)
    await world.settle()


async def test_a_redis_that_takes_no_writes_any_more_is_said_until_it_does(world: World) -> None:
    await started_with_redis(world)
    world.kubernetes.logs["voice-livekit-0"] = REFUSED
    await looked(world, 30)
    assert world.ready("LiveKitServer", "voice") == ("False", "RedisRefused")
    assert "READONLY You can't write against a read only replica" in world.message("LiveKitServer", "voice")
    assert "spec.redis" in world.message("LiveKitServer", "voice")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "RedisRefused")
    world.kubernetes.logs["voice-livekit-0"] = ""
    world.forget()
    await looked(world, 5)
    assert world.written() == [], "it does not turn with every look"
    await looked(world, 5)
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")


async def started_with_redis(world: World) -> None:
    world.kubernetes.put(manifests.server(**OUTSIDE))
    await settled(world, "voice")
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_the_log_of_a_server_is_read_now_and_then_and_of_one_alone_never(world: World) -> None:
    await started_with_redis(world)
    world.kubernetes.put(manifests.server("alone", media={"exposure": "NodePort"}))
    await settled(world, "voice", "alone")
    world.kubernetes.forget_writes()
    await looked(world, 29)
    assert world.kubernetes.reads == []
    await looked(world, 1)
    assert world.kubernetes.reads == ["log voice-livekit-0/livekit-server of 8 s"]


def turn_ready(world: World, *, ready: bool) -> None:
    """Let the server's pod become ready or unready now."""
    (pod,) = world.server_pods()
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": timestamp(world.clock())}
    started = {"state": {"running": {"startedAt": timestamp(world.clock())}}, "name": "livekit-server"}
    status = {"conditions": [condition], "containerStatuses": [{**started, "containerID": "c1", "restartCount": 0}]}
    world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], status, status=True)


async def test_a_server_whose_messages_do_not_come_back_is_not_called_ready_in_between(world: World) -> None:
    """As with a user who may not use channels: it is well for four seconds, and then not for good."""
    world.kubernetes.put(manifests.server(**OUTSIDE))
    await world.settle()
    world.run_server()
    world.loads.answers[world.server_pods()[0]["status"]["podIP"]] = ServerLoad(0, 0)
    turn_ready(world, ready=True)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")
    world.clock.advance(4)
    turn_ready(world, ready=False)
    await looked(world, 16)
    assert world.ready("LiveKitServer", "voice") == ("False", "RedisUnreachable")
    assert "channel" in world.message("LiveKitServer", "voice")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "RedisUnreachable")
    turn_ready(world, ready=True)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "RedisUnreachable"), "it may be so for a moment again"
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "RedisUnreachable")
    await looked(world, 6)
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


@pytest.mark.parametrize(("people", "replaced"), [(0, True), (1, False), (None, False)])
async def test_a_server_that_hangs_is_replaced_when_it_has_nobody(
    world: World, people: int | None, replaced: bool
) -> None:
    await started_with_redis(world)
    (before,) = world.server_pods()
    if people is None:
        del world.loads.answers[before["status"]["podIP"]]
    else:
        world.loads.answers[before["status"]["podIP"]] = ServerLoad(1, people)
    turn_ready(world, ready=False)
    await looked(world, 179)
    assert [pod["metadata"]["uid"] for pod in world.server_pods()] == [before["metadata"]["uid"]]
    await looked(world, 1)
    assert bool(world.server_pods(leaving=True)) is replaced
    if replaced:
        world.kubernetes.vanish("Pod", NAMESPACE, before["metadata"]["name"])
    else:
        turn_ready(world, ready=True)
        world.loads.answers[before["status"]["podIP"]] = ServerLoad(0, 0)
    await settled(world, "voice")
    await looked(world, 6)
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_no_brake_outlives_a_clock_that_is_set_back_while_a_server_that_hangs_is_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started_with_redis(world)
    (pod,) = world.server_pods()
    world.loads.answers[pod["status"]["podIP"]] = ServerLoad(1, 1)
    turn_ready(world, ready=False)
    await looked(world, 180)
    server = LiveKitServer.model_validate(world.get("LiveKitServer", "voice"))
    note_failed(world.context, server, COMPONENT_SERVER, {"metadata": {"name": "former", "uid": "uid-former"}})
    ask = world.loads.load

    def moved() -> None:
        set_back(world.context, TABLE)
        world.context.brakes_of(server)  # which has some again, as before any pass that observes

    async def asked(address: str, port: int, credentials: tuple[str, str] | None) -> ServerLoad | None:
        Elsewhere().run(moved)  # by the clock, not by the pass
        return await ask(address, port, credentials)

    monkeypatch.setattr(world.loads, "load", asked)
    before = len(world.loads.asked)
    await world.reconcile("LiveKitServer", "voice")
    assert len(world.loads.asked) == before + 1, "it hangs, so only that is asked"
    assert world.context.brakes_of(server).pods[COMPONENT_SERVER].ended == {}
