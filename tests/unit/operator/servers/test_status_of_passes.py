"""What a server says of itself from pass to pass, while it starts, answers, fails and heals."""

from typing import Any

import pytest

from livekit_operator.errors import ServerRefused, ServerUnreachable
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.world import World
from tests.unit.operator.servers.replicas import SHARED, settled, started


async def test_ready_when_it_answers(world: World) -> None:
    await world.with_server()
    server = world.get("LiveKitServer", "voice")
    status = server["status"]
    conditions = {c["type"]: (c["status"], c["reason"]) for c in status.pop("conditions")}
    assert conditions == {
        "Ready": ("True", "Ready"),
        "Progressing": ("False", "UpToDate"),
        "Degraded": ("False", "AsExpected"),
    }
    assert [port["name"] for port in status.pop("ports")] == ["signal", "signal", "ice-tcp", "media"]
    assert status == {
        "observedGeneration": 1,
        "version": "v1.13.5",
        "replicas": 1,
        "readyReplicas": 1,
        "updatedReplicas": 1,
        "drainingReplicas": 0,
        "internalUrl": "ws://voice-livekit.team.svc:7880",
        "externalUrl": "wss://voice.example.com",
        "keysSecretName": "voice-livekit-keys",
        "keys": {"phase": "Stable", "accepted": 1},
        "servers": [
            {
                "name": "voice-livekit-0",
                "node": "node-1",
                "address": "192.0.2.1",
                "state": "Serving",
                "rooms": 0,
                "participants": 0,
            }
        ],
        "rooms": 0,
        "participants": 0,
        "selector": "app.kubernetes.io/component=server,app.kubernetes.io/instance=voice,"
        "app.kubernetes.io/name=livekit-server",
    }
    keys = decoded(world.get("Secret", "voice-livekit-keys"))
    assert {url for url, *_ in world.livekit.connections} == {
        "ws://voice-livekit.team.svc:7880",
        "http://10.244.2.1:7880",
    }
    assert {(key, secret) for _, key, secret in world.livekit.connections} == {(keys["apiKey"], keys["apiSecret"])}


async def test_calls_are_waited_for_and_named(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    await world.settle()
    world.livekit.join("support-42", "alice")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"logging": {"level": "warn"}}})
    await world.reconcile("LiveKitServer", "voice")
    await world.pass_check("voice")
    await world.settle()
    world.run_server()
    await world.settle()
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("True", "WaitingForRooms")
    states = {line["name"]: line for line in world.get("LiveKitServer", "voice")["status"]["servers"]}
    assert states["voice-livekit-0"]["waitsFor"] == ["support-42"]
    assert states["voice-livekit-1"]["state"] == "Standby"
    assert ("Normal", "WaitingForRooms") in [event[:2] for event in world.events()]
    world.livekit.leave("support-42", "alice")
    await world.settle()
    assert [pod["metadata"]["name"] for pod in world.server_pods()] == ["voice-livekit-1"]


async def test_scaled_to_zero_is_said(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 0}})
    await world.settle()
    world.run_server()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "ScaledToZero")


@pytest.mark.parametrize("problem", [ServerUnreachable("refused"), ServerRefused("unauthenticated", "no key")])
async def test_a_server_that_runs_but_does_not_answer(world: World, problem: Any) -> None:
    await world.with_server()
    world.livekit.problem = problem
    again = await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "ServerUnreachable")
    assert str(problem) in world.message("LiveKitServer", "voice")
    status = world.get("LiveKitServer", "voice")["status"]
    assert "rooms" not in status, "an old number would be a lie"
    assert again == (1.0 if isinstance(problem, ServerUnreachable) else 5.0), "silence is looked into at once"
    world.livekit.problem = None
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    told = [m for key, m in world.kubernetes.objects.items() if key[0] == "Event"]
    # The same again is counted: ready, not, and ready again.
    assert [(event["type"], event["reason"], event["count"]) for event in told] == [
        ("Normal", "Ready", 2),
        ("Warning", "ServerUnreachable", 1),
    ]


async def test_redis_that_goes_away_is_said(world: World) -> None:
    await started(world, **SHARED)
    world.stop_server()
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "RedisUnreachable")
    for pod in world.server_pods():
        world.run_server_pod(pod)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_servers_that_share_rooms_are_looked_at_more_often_than_one_alone(world: World) -> None:
    await started(world, **SHARED)
    shared = await world.reconcile("LiveKitServer", "voice")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 1}})
    await settled(world)
    alone = await world.reconcile("LiveKitServer", "voice")
    assert (shared, alone) == (3.0, 5.0)


async def test_a_server_that_its_service_does_not_lead_to_yet_is_on_its_way(world: World) -> None:
    world.kubernetes.put(manifests.server())
    await world.settle()
    world.run_server()
    world.livekit.problem = ServerUnreachable("refused")
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")
    world.livekit.problem = None
    await world.settle()
    world.livekit.problem = ServerUnreachable("refused")
    await world.settle()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "ServerUnreachable")
