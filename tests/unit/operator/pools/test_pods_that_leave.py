"""A pod that somebody deletes, and whose worker goes on: seen, and told by the pool."""

import pytest

from livekit_operator.views import WorkerStatus
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World


@pytest.mark.parametrize(
    ("worker", "later", "reason"),
    [
        pytest.param(WorkerStatus(True, 2, draining=True), 120, "Draining", id="it drains"),
        pytest.param(WorkerStatus(True, 2), 10, "Draining", id="it was told a moment ago"),
        pytest.param(WorkerStatus(True, 2), 40, "NotDraining", id="it goes on"),
    ],
)
async def test_a_worker_that_does_not_heed_that_its_pod_leaves_is_told(
    world: World, worker: WorkerStatus, later: int, reason: str
) -> None:
    """Whoever deleted the pod: the kubelet tells the worker, and its word is that it goes on."""
    await world.with_server()
    await world.with_pool(replicas=1)
    [pod] = world.agent_pods()
    world.say(pod, sessions=2)
    await world.settle()
    await world.kubernetes.delete("Pod", NAMESPACE, pod["metadata"]["name"])
    world.worker.answers[pod["status"]["podIP"]] = worker
    await world.settle()
    world.clock.advance(later)
    await world.settle()
    progressing = manifests.condition(world.get("VoiceAgentPool", "front-desk"), "Progressing")
    assert progressing["reason"] == reason, progressing["message"]


async def test_a_worker_without_the_runner_may_end_after_its_last_call(world: World) -> None:
    """It does not say that it drains: what is known is that its last call has ended, and when."""
    await world.with_server()
    await world.with_pool(replicas=1)
    [pod] = world.agent_pods()
    address = pod["status"]["podIP"]
    world.worker.answers[address] = WorkerStatus(None, 1)
    await world.settle()
    await world.kubernetes.delete("Pod", NAMESPACE, pod["metadata"]["name"])
    world.clock.advance(120)
    await world.settle()
    world.worker.answers[address] = WorkerStatus(None, 0)
    reasons = []
    for later in (1, 40):
        world.clock.advance(later)
        await world.settle()
        reasons.append(manifests.condition(world.get("VoiceAgentPool", "front-desk"), "Progressing")["reason"])
    assert reasons == ["Draining", "NotDraining"]
