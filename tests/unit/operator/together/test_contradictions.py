"""What was seen to contradict itself: a pool without pods whose agents are free, a room that believes it.

The world checks every status by itself (tests/harness/invariants.py); here is what must be said instead.
"""

from datetime import timedelta
from typing import Any

import pytest

from livekit_operator.errors import KubernetesError, ServerUnreachable
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World

FORBIDDEN = KubernetesError(403, "Forbidden", "exceeded quota: pods=0")
POOL, ROOM = "front-desk", "support-42"


def told(world: World, kind: str = "VoiceAgentPool", name: str = POOL) -> dict[str, tuple[str, str]]:
    """Return status and reason of all conditions."""
    conditions = world.get(kind, name)["status"]["conditions"]
    return {condition["type"]: (condition["status"], condition["reason"]) for condition in conditions}


async def with_pool_and_room(world: World, **pool: Any) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(**pool))
    world.kubernetes.put(manifests.room(agents=[{"poolRef": {"name": POOL}}]))


async def test_a_pool_whose_pods_are_refused_has_no_agents(world: World) -> None:
    await with_pool_and_room(world)
    world.kubernetes.fail("create", "Pod", FORBIDDEN)
    await world.settle()
    refused = ("False", "KubernetesRefused")
    assert told(world) | {"ProvidersAccepted": ("", "")} == {
        "Ready": refused,
        "Progressing": refused,
        "AgentsAvailable": refused,
        "ProvidersAccepted": ("", ""),
    }
    assert told(world, "MeetingRoom", ROOM) == {"Ready": refused, "AgentsReady": refused}
    world.kubernetes.heal()
    await world.settle()
    world.run_pods()
    await world.settle()
    assert told(world)["AgentsAvailable"] == ("True", "Available")
    assert told(world, "MeetingRoom", ROOM)["AgentsReady"] == ("True", "PoolsReady")


async def test_a_room_says_that_its_pool_has_no_pod_yet(world: World) -> None:
    await with_pool_and_room(world)
    await world.settle()
    assert told(world)["AgentsAvailable"] == ("False", "NoWorkerRegistered")
    assert told(world)["Progressing"] == ("True", "Starting")
    assert told(world, "MeetingRoom", ROOM)["AgentsReady"] == ("False", "NoWorkerRegistered")
    world.run_pods()
    await world.settle()
    assert told(world, "MeetingRoom", ROOM)["AgentsReady"] == ("True", "PoolsReady")
    assert told(world)["Progressing"] == ("False", "UpToDate")


async def test_rooms_do_not_repeat_that_all_pods_are_away_for_a_moment(world: World) -> None:
    await with_pool_and_room(world)
    await world.settle()
    world.run_pods()
    await world.settle()
    world.clock.advance(70)
    await world.settle()
    for pod in world.agent_pods():
        unready = {"conditions": [{"type": "Ready", "status": "False"}]}
        world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], unready, status=True)
    await world.settle()
    assert told(world)["Ready"] == ("False", "Progressing")
    assert told(world)["AgentsAvailable"] == ("False", "NoWorkerRegistered")
    assert told(world, "MeetingRoom", ROOM)["AgentsReady"] == ("True", "PoolsReady")


@pytest.mark.parametrize(
    ("waiting", "reason"), [("ImagePullBackOff", "PodsFailing"), ("CreateContainerConfigError", "PodsFailing")]
)
async def test_a_pool_whose_pods_cannot_start_makes_no_progress_and_has_no_agents(
    world: World, waiting: str, reason: str
) -> None:
    await with_pool_and_room(world)
    await world.settle()
    container = {"name": "agent", "restartCount": 0, "state": {"waiting": {"reason": waiting, "message": "Back-off"}}}
    for pod in world.agent_pods():
        world.kubernetes.edit(
            "Pod", NAMESPACE, pod["metadata"]["name"], {"containerStatuses": [container]}, status=True
        )
    await world.settle()
    assert told(world)["Ready"] == ("False", reason)
    assert told(world)["Progressing"] == ("True", "Starting")
    assert told(world)["AgentsAvailable"][0] == "False"
    assert told(world, "MeetingRoom", ROOM)["AgentsReady"][0] == "False"
    message = manifests.condition(world.get("MeetingRoom", ROOM), "AgentsReady")["message"]
    assert waiting in message, "why, not only that"


async def test_a_version_that_was_refused_is_not_what_runs(world: World) -> None:
    await with_pool_and_room(world)
    await world.settle()
    world.run_pods()
    await world.settle()
    world.kubernetes.fail("apply", "ConfigMap", FORBIDDEN)
    change = {"spec": {"agent": {"instructions": "Be briefer."}}}
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, POOL, change)
    await world.settle()
    assert told(world)["Ready"] == ("False", "KubernetesRefused")
    assert told(world)["Progressing"] == ("False", "KubernetesRefused")
    assert told(world)["AgentsAvailable"] == ("True", "Available"), "the version before serves"


async def test_a_pool_that_waits_for_a_secret_says_the_same_everywhere(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.pool())
    world.kubernetes.put(manifests.room(agents=[{"poolRef": {"name": POOL}}]))
    await world.settle()
    missing = ("False", "SecretNotFound")
    assert told(world) == {
        "Ready": missing,
        "Progressing": missing,
        "AgentsAvailable": missing,
        "ProvidersAccepted": ("Unknown", "SecretNotFound"),
    }
    assert told(world, "MeetingRoom", ROOM) == {"Ready": missing, "AgentsReady": missing}


async def test_a_pool_of_no_pods_is_not_ready_and_its_rooms_know(world: World) -> None:
    await with_pool_and_room(world, replicas=0)
    await world.settle()
    assert told(world)["Ready"] == ("False", "ScaledToZero")
    assert told(world)["AgentsAvailable"] == ("False", "NoWorkerRegistered")
    assert told(world)["Progressing"] == ("False", "UpToDate")
    assert told(world, "MeetingRoom", ROOM)["AgentsReady"] == ("False", "NoWorkerRegistered")
    assert "spec.replicas" in world.message("MeetingRoom", ROOM)


async def test_a_pool_that_sleeps_is_ready(world: World) -> None:
    scaling = {"minReplicas": 0, "maxReplicas": 3, "scaleDownStabilizationSeconds": 0}
    await with_pool_and_room(world, autoscaling=scaling)
    await world.settle()
    assert told(world)["Ready"] == ("True", "Ready")
    assert told(world)["AgentsAvailable"] == ("True", "Available")
    assert "another pod comes" in manifests.condition(world.get("VoiceAgentPool", POOL), "AgentsAvailable")["message"]
    assert told(world, "MeetingRoom", ROOM)["AgentsReady"] == ("True", "PoolsReady")


async def test_agents_that_are_all_taken_are_not_available(world: World) -> None:
    await world.with_server()
    await world.with_pool(sessionsPerPod=1)
    (pod,) = world.agent_pods()
    world.say(pod, jobs={"AJ_1": "other"})
    await world.settle()
    assert told(world)["Ready"] == ("True", "Ready")
    assert told(world)["AgentsAvailable"] == ("False", "AllWorkersFull")


async def test_a_room_whose_last_guest_leaves_without_an_agent_says_so_until_it_is_listed(world: World) -> None:
    await world.with_server()
    await world.with_pool(sessionsPerPod=1, replicas=1)
    (pod,) = world.agent_pods()
    world.say(pod, jobs={"AJ_1": "other"})
    world.kubernetes.put(manifests.room(ROOM, agents=[{"poolRef": {"name": POOL}}]))
    await world.settle()
    world.livekit.join(ROOM, "alice")
    await world.settle()
    assert told(world, "MeetingRoom", ROOM)["AgentsReady"] == ("False", "AllWorkersFull")
    world.livekit.leave(ROOM, "alice")
    await world.reconcile("MeetingRoom", ROOM)  # which the listing does not tell yet
    assert told(world, "MeetingRoom", ROOM)["AgentsReady"] == ("False", "AllWorkersFull")


@pytest.mark.parametrize("gone", ["LiveKitServer", "Secret"])
async def test_a_pool_that_is_held_up_still_counts_its_pods(world: World, gone: str) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.vanish(gone, NAMESPACE, "voice" if gone == "LiveKitServer" else "providers")
    world.context.foreign_secrets.clear()
    for pod in world.agent_pods():
        world.kubernetes.vanish("Pod", NAMESPACE, pod["metadata"]["name"])
    world.clock.advance(30)
    await world.reconcile("VoiceAgentPool", POOL)
    status = world.get("VoiceAgentPool", POOL)["status"]
    assert told(world)["AgentsAvailable"][0] == "False"
    assert (status["replicas"], status["readyReplicas"], status["freeSessions"]) == (0, 0, 0)


async def test_a_server_that_does_not_answer_is_degraded(world: World) -> None:
    await world.with_server()
    world.livekit.problem = ServerUnreachable("no answer")
    world.clock.advance(timedelta(seconds=31).total_seconds())
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("LiveKitServer", "voice")
    found = told(world, "LiveKitServer", "voice")
    assert found["Ready"] == ("False", "ServerUnreachable")
    assert found["Degraded"] == ("True", "ServerUnreachable")


async def test_a_server_that_cannot_go_on_is_degraded_and_makes_no_progress(world: World) -> None:
    await world.with_server()
    world.kubernetes.fail("apply", "Service", FORBIDDEN)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"signal": {"port": 7980}}})
    await world.reconcile("LiveKitServer", "voice")
    found = told(world, "LiveKitServer", "voice")
    assert found["Ready"][0] == "False"
    assert found["Degraded"] == ("True", found["Ready"][1])
    assert found["Progressing"][0] == "False"


async def test_what_waits_for_a_server_has_its_words(world: World) -> None:
    world.kubernetes.put(manifests.server(keysSecretRef={"name": "my-keys"}))
    world.kubernetes.put(manifests.pool())
    world.kubernetes.put(manifests.room(agents=[{"poolRef": {"name": POOL}}]))
    await world.settle()
    for kind, name in (("VoiceAgentPool", POOL), ("MeetingRoom", ROOM)):
        assert world.ready(kind, name) == ("False", "ServerNotReady")
        assert "SecretNotFound" in world.message(kind, name)
        assert "my-keys" in world.message(kind, name)


async def test_others_namespaces_get_a_servers_reason_and_not_its_words(world: World) -> None:
    world.kubernetes.put(manifests.server(keysSecretRef={"name": "my-keys"}, allowedNamespaces=["*"]))
    room = manifests.room("abroad", namespace="other", serverRef={"name": "voice", "namespace": NAMESPACE})
    world.kubernetes.put(room)
    await world.settle()
    message = world.message("MeetingRoom", "abroad", "other")
    assert "SecretNotFound" in message
    assert "my-keys" not in message
