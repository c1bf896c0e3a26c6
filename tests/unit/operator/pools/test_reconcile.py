"""A VoiceAgentPool: pods for its sessions, new versions without a call cut, and the reason when it cannot serve."""

from datetime import timedelta
from typing import Any

from livekit_operator.errors import NamespaceTerminating
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.world import World
from tests.unit.operator.pools.steps import names


def versions(world: World) -> list[dict[str, Any]]:
    found = world.get("VoiceAgentPool", "front-desk")["status"]["versions"]
    assert isinstance(found, list)
    return found


async def test_pods_are_created_with_configuration_and_credentials(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(replicas=2))
    world.forget()
    again = await world.reconcile("VoiceAgentPool", "front-desk")
    (version,) = versions(world)
    verbs = [write.what.rsplit("/", 1)[0] if write.kind == "Pod" else write.what for write in world.kubernetes.writes]
    assert verbs == [
        "apply PodDisruptionBudget/front-desk-busy",
        f"apply ConfigMap/front-desk-agent-{version['revision']}",
        "apply Secret/front-desk-agent-versions",
        "apply Secret/front-desk-agent",
        "apply ServiceAccount/front-desk-agent",
        "apply NetworkPolicy/front-desk-agent",
        "create Pod",
        "create Pod",
        "merge VoiceAgentPool/front-desk/status",
    ]
    assert again == 2.0
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "Progressing")
    keys = decoded(world.get("Secret", "voice-livekit-keys"))
    keys = {name: keys[name] for name in ("apiKey", "apiSecret")}
    assert decoded(world.get("Secret", "front-desk-agent")) == keys
    await world.settle()
    assert len(world.agent_pods()) == 2


async def test_ready_when_its_pods_are(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=2, sessionsPerPod=3)
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    status = world.get("VoiceAgentPool", "front-desk")["status"]
    for pod in world.agent_pods():
        world.say(pod, sessions=1)
    await world.reconcile("VoiceAgentPool", "front-desk")
    status = world.get("VoiceAgentPool", "front-desk")["status"]
    shown = {
        key: value for key, value in status.items() if key not in ("conditions", "revision", "selector", "versions")
    }
    assert shown == {
        "observedGeneration": 1,
        "sessions": [],
        "agentName": "front-desk",
        "replicas": 2,
        "desiredReplicas": 2,
        "desiredReason": "2 pods by spec.replicas.",
        "readyReplicas": 2,
        "updatedReplicas": 2,
        "drainingReplicas": 0,
        "busyReplicas": 2,
        "idleReplicas": 0,
        "activeSessions": 2,
        "freeSessions": 4,
        "waitingSessions": 0,
        "remainingSessions": 0,
    }
    (version,) = versions(world)
    assert (version["revision"], version["track"], version["activeSessions"]) == (status["revision"], "Stable", 2)
    assert status["selector"].startswith("app.kubernetes.io/component=agent,")


async def test_a_pool_that_grows_stays_ready(world: World) -> None:
    await world.with_server()
    await world.with_pool(sessionsPerPod=2, autoscaling={"minReplicas": 1, "maxReplicas": 4, "bufferSessions": 2})
    world.say(world.agent_pods()[0], sessions=2)
    await world.settle()
    assert len(world.agent_pods()) == 2
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")


async def test_a_namespace_that_is_being_deleted_is_left_in_peace(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    world.kubernetes.fail("create", "Pod", NamespaceTerminating(403, "Forbidden", "m"))
    before = world.events()
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "NamespaceTerminating")
    assert world.events() == before
    assert len(await world.writes_of_another_round()) <= 1, "it tries, and says nothing new"


async def test_what_is_left_of_a_pool_is_counted_while_its_namespace_ends(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.fail("create", "Pod", NamespaceTerminating(403, "Forbidden", "m"))
    [pod] = world.agent_pods()
    world.kubernetes.ask_to_delete("Pod", NAMESPACE, pod["metadata"]["name"])
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "NamespaceTerminating")
    status = world.get("VoiceAgentPool", "front-desk")["status"]
    told = [status[name] for name in ("replicas", "readyReplicas", "updatedReplicas", "drainingReplicas")]
    assert told == [0, 0, 0, 1]


async def test_scales_up_with_its_calls_and_down_from_idle_pods(world: World) -> None:
    await world.with_server()
    scaling = {"minReplicas": 1, "maxReplicas": 4, "bufferSessions": 2, "scaleDownStabilizationSeconds": 0}
    await world.with_pool(sessionsPerPod=2, autoscaling=scaling)
    [first] = world.agent_pods()
    world.say(first, sessions=2)
    await world.settle()
    world.run_pods()
    await world.settle()
    pods = world.agent_pods()
    assert len(pods) == 2
    for pod in pods:
        world.say(pod, sessions=2)
    await world.settle()
    world.run_pods()
    await world.settle()
    assert len(world.agent_pods()) == 3
    idle, *busy = sorted(world.agent_pods(), key=lambda pod: pod["metadata"]["name"] not in names(pods[:1]))
    world.say(idle, sessions=0)
    for pod in busy:
        world.say(pod, sessions=1)
    await world.settle()
    assert names(world.agent_pods(leaving=True)) == [idle["metadata"]["name"]]
    assert world.get("VoiceAgentPool", "front-desk")["status"]["drainingReplicas"] == 1
    world.end_pods()
    await world.settle()
    assert len(world.agent_pods(leaving=None)) == 2


async def test_a_busy_pod_stays_though_fewer_are_wanted(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=2)
    for pod in world.agent_pods():
        world.say(pod, sessions=1)
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"replicas": 0}})
    await world.settle()
    assert len(world.agent_pods()) == 2
    for pod in world.agent_pods():
        world.say(pod)
    await world.settle()
    world.end_pods()
    await world.settle()
    assert world.agent_pods(leaving=None) == []
    assert world.get("VoiceAgentPool", "front-desk")["status"]["replicas"] == 0


async def test_a_changed_pool_is_replaced_new_ones_first(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=2)
    old = names(world.agent_pods())
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"sessionsPerPod": 2}})
    await world.settle()
    assert world.agent_pods(leaving=True) == []
    assert len(world.agent_pods()) == 3, "one more than wanted while versions change"
    assert world.get("VoiceAgentPool", "front-desk")["status"]["updatedReplicas"] == 1
    for _ in range(4):
        world.run_pods()
        await world.settle()
        assert sum(pod["status"].get("podIP") is not None for pod in world.agent_pods()) >= 2
        world.end_pods()
        await world.settle()
    assert not set(names(world.agent_pods(leaving=None))) & set(old)
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    now, former = versions(world)
    assert (now["track"], former["track"]) == ("Stable", "History")
    assert '"sessionsPerPod": 2' in world.get("ConfigMap", f"front-desk-agent-{now['revision']}")["data"]["config.json"]


async def test_a_dead_pod_is_replaced(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    [dead] = world.agent_pods()
    world.kubernetes.edit("Pod", NAMESPACE, dead["metadata"]["name"], {"phase": "Failed"}, status=True)
    await world.settle()
    assert names(world.agent_pods(leaving=True)) == names([dead])
    assert len(world.agent_pods()) == 1


async def test_a_deleted_pool_takes_its_children_with_it(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.ask_to_delete("VoiceAgentPool", NAMESPACE, "front-desk")
    world.forget()
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.kubernetes.writes == []
    assert world.agent_pods(leaving=None) == []


async def test_a_restarted_operator_finds_everything_as_it_is(world: World) -> None:
    """The caches are empty but for a listing, the connections are new: nothing is written."""
    await world.with_server()
    await world.with_pool()
    world.context.servers.clear()
    world.forget()
    await world.round()
    await world.round()
    assert world.written() == []


async def test_a_new_pool_in_an_unknown_time_zone_says_so_and_begins_when_it_is_put_right(world: World) -> None:
    night = {"start": "22:00", "end": "06:00", "timeZone": "Europe/Atlantis", "minReplicas": 2}
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(autoscaling={"schedules": [night]}))
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk")[0] == "False"
    assert "Europe/Atlantis" in world.message("VoiceAgentPool", "front-desk")
    assert "spec.autoscaling.schedules" in world.message("VoiceAgentPool", "front-desk")
    right = {"autoscaling": {"schedules": [{**night, "timeZone": "Europe/Berlin"}]}}
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": right})
    await world.settle()
    world.run_pods()
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")


async def test_a_schedule_that_is_now_raises_the_minimum_and_one_that_is_over_lowers_it(world: World) -> None:
    now = world.clock()
    times = {"start": now - timedelta(hours=2), "end": now + timedelta(hours=2)}
    # By the day on which it began, which may have been yesterday.
    window = {name: f"{moment:%H:%M}" for name, moment in times.items()} | {"days": [f"{times['start']:%A}"]}
    other = {"start": window["end"], "end": window["start"], "minReplicas": 5}
    scaling = {"minReplicas": 1, "bufferSessions": 0, "scaleDownStabilizationSeconds": 0}
    await world.with_server()
    await world.with_pool(autoscaling=scaling)
    assert len(world.agent_pods()) == 1
    schedules = {"autoscaling": {"schedules": [{**window, "minReplicas": 3}, other]}}
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": schedules})
    await settled(world)
    status = world.get("VoiceAgentPool", "front-desk")["status"]
    assert (status["desiredReplicas"], status["replicas"], len(world.agent_pods())) == (3, 3, 3)
    assert "schedule" in status["desiredReason"]
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": {"autoscaling": {"schedules": None}}})
    await settled(world)
    status = world.get("VoiceAgentPool", "front-desk")["status"]
    assert (status["desiredReplicas"], len(world.agent_pods())) == (1, 1)


async def settled(world: World) -> None:
    """Let time pass, pods start and those that leave end."""
    for _ in range(3):
        world.clock.advance(5)
        await world.settle()
        world.run_pods()
        await world.settle()
        world.end_pods()
