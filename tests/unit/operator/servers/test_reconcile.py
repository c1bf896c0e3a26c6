"""A LiveKitServer from its first pass to another spec: what is made, and what changes nothing."""

from typing import Any

import pytest
import yaml

from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.world import World

SERVING = "livekit-operator.dev/serving"


async def test_children_are_made_once(world: World) -> None:
    world.kubernetes.put(manifests.server())
    await world.reconcile("LiveKitServer", "voice")
    assert world.written() == [
        "merge LiveKitServer/voice",
        "apply Secret/voice-livekit-keys",
        "apply ServiceAccount/voice-livekit",
        "apply Service/voice-livekit",
        "apply PodDisruptionBudget/voice-livekit",
        "create Pod/voice-livekit-0",
        "merge LiveKitServer/voice/status",
    ]
    keys = decoded(world.get("Secret", "voice-livekit-keys"))
    assert keys["apiKey"].startswith("API")
    assert len(keys["apiSecret"]) >= 32
    assert yaml.safe_load(keys["keys.yaml"]) == {keys["apiKey"]: keys["apiSecret"]}
    await world.reconcile("LiveKitServer", "voice")  # the status tells of the pod
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    assert world.kubernetes.writes == []
    assert decoded(world.get("Secret", "voice-livekit-keys")) == keys


async def test_a_changed_spec_starts_a_new_server_that_takes_over(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"version": "v1.13.4"}})
    await world.reconcile("LiveKitServer", "voice")
    status = world.get("LiveKitServer", "voice")["status"]
    assert (status["observedGeneration"], status["version"], status["updatedReplicas"]) == (2, "v1.13.4", 0)
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("True", "RollingOut")
    await world.pass_check("voice")
    await world.settle()
    new = next(pod for pod in world.server_pods() if pod["metadata"]["name"] == "voice-livekit-1")
    assert new["spec"]["containers"][0]["image"].endswith(":v1.13.4")
    assert SERVING not in new["metadata"]["labels"], "two servers without Redis would be two worlds"
    world.run_server_pod(new)
    await world.settle()
    assert [pod["metadata"]["name"] for pod in world.server_pods()] == ["voice-livekit-1"]
    assert SERVING in world.server_pods()[0]["metadata"]["labels"]
    world.run_server()
    await world.settle()
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("False", "UpToDate")


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"drainTimeoutSeconds": 60}, id="time to drain"),
        pytest.param({"allowedNamespaces": ["other"]}, id="who may use it"),
        pytest.param({"logging": {"level": "info"}}, id="a default"),
        pytest.param({"keyRotation": {"graceSeconds": 60}}, id="grace"),
        pytest.param({"signal": {"externalUrl": "wss://other.example.com"}}, id="external URL"),
    ],
)
async def test_what_changes_nothing_for_servers_restarts_none(world: World, patch: dict[str, Any]) -> None:
    await world.with_server()
    before = [pod["metadata"]["uid"] for pod in world.server_pods()]
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": patch})
    await world.settle()
    assert [pod["metadata"]["uid"] for pod in world.server_pods()] == before
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("False", "UpToDate")


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_server_too_busy_for_one_answer_changes_nothing_that_is_told(world: World, restarted: bool) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room())
    await world.settle()
    (server,) = world.get("LiveKitServer", "voice")["status"]["servers"]
    assert (server["rooms"], server["participants"]) == (1, 0)
    world.forget()
    if restarted:
        # An operator that has just started has no earlier answer, only the status.
        world.context.server_pods.clear()
    own_address = "http://10.244.2.1:7880"
    assert own_address in {url for url, *_ in world.livekit.connections}
    world.livekit.cut.add(own_address)
    assert await world.reconcile("LiveKitServer", "voice") == 1.0, "silence is looked into at once"
    assert world.kubernetes.writes == []
    world.livekit.cut.clear()
    await world.reconcile("LiveKitServer", "voice")
    assert world.kubernetes.writes == []
    world.livekit.cut.add(own_address)
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("LiveKitServer", "voice")
    (server,) = world.get("LiveKitServer", "voice")["status"]["servers"]
    assert server["state"] == "Unreachable"
    assert "rooms" not in server, "an old number would be a lie"
