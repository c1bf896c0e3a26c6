"""Versions of a VoiceAgentPool: canaries, versions that fail, and the way back."""

from datetime import timedelta
from typing import Any

import pytest

from livekit_operator.moments import timestamp
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest, condition
from tests.fakes.world import World

SCALING = {"minReplicas": 2, "maxReplicas": 10, "bufferSessions": 2, "scaleDownStabilizationSeconds": 0}


def pool(world: World) -> Manifest:
    return world.get("VoiceAgentPool", "front-desk")


def change(world: World, **spec: Any) -> None:
    world.kubernetes.edit("VoiceAgentPool", NAMESPACE, "front-desk", {"spec": spec})


def tracks(world: World) -> dict[str, str]:
    """Return revision -> track, newest first."""
    return {version["revision"]: version["track"] for version in pool(world)["status"]["versions"]}


def pods_of(world: World, track: str) -> list[Manifest]:
    label = "livekit-operator.dev/track"
    return [pod for pod in world.agent_pods() if pod["metadata"]["labels"][label] == track]


async def rolled(world: World) -> None:
    for _ in range(6):
        world.run_pods()
        await world.settle()
        world.end_pods()
        await world.settle()


async def with_canary(world: World, **canary: Any) -> str:
    """Put a pool there whose second version is a canary; return its revision."""
    await world.with_server()
    await world.with_pool(autoscaling=SCALING, rollout={"canary": {"weight": 50, **canary}})
    world.clock.advance(60)
    change(world, sessionsPerPod=2)
    await rolled(world)
    return str(pool(world)["status"]["revision"])


async def test_a_new_version_gets_its_share_beside_the_proven_one(world: World) -> None:
    revision = await with_canary(world)
    assert sorted(tracks(world).values()) == ["Canary", "Stable"]
    assert tracks(world)[revision] == "Canary"
    assert (len(pods_of(world, "stable")), len(pods_of(world, "canary"))) == (2, 1)
    (canary,) = pods_of(world, "canary")
    variables = {v["name"]: v.get("value") for v in canary["spec"]["containers"][0]["env"]}
    told = pool(world)["status"]["canary"]
    assert variables["LIVEKIT_AGENT_DEPLOYMENT"] == told["deployment"] == f"canary-{revision}"
    assert told["weight"] == 50
    assert world.condition("VoiceAgentPool", "front-desk", "Progressing") == ("True", "Canary")
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")


async def test_calls_are_shared_out_between_them(world: World) -> None:
    revision = await with_canary(world)
    for number in range(20):
        name = f"room-{number}"
        world.kubernetes.put(manifests.room(name, agents=[{"poolRef": {"name": "front-desk"}, "dispatch": "OnCreate"}]))
        await world.reconcile("MeetingRoom", name)
        world.livekit.take(name, f"AJ_{number}")
        memory = world.context.pools[NAMESPACE, "front-desk"]
        memory.served((NAMESPACE, name))  # there is room for all of them
    deployments = [world.livekit.rooms[f"room-{n}"].dispatches[0].deployment for n in range(20)]
    assert set(deployments) == {"", f"canary-{revision}"}
    assert 5 <= deployments.count("") <= 15


async def test_a_canary_takes_over_when_it_is_promoted(world: World) -> None:
    revision = await with_canary(world)
    change(world, rollout={"canary": {"weight": 50, "promote": revision}})
    await rolled(world)
    assert tracks(world)[revision] == "Stable"
    assert pods_of(world, "canary") == []
    assert {pod["metadata"]["labels"]["livekit-operator.dev/revision"] for pod in world.agent_pods()} == {revision}
    assert "canary" not in pool(world)["status"]


@pytest.mark.parametrize(("failed", "track"), [(0, "Stable"), (3, "Failed")])
async def test_a_canary_is_judged_by_its_calls(world: World, failed: int, track: str) -> None:
    revision = await with_canary(world, analysis={"minSessions": 10, "maxFailedPercent": 20})
    world.say(pods_of(world, "canary")[0], started=10, failed=failed)
    await rolled(world)
    assert tracks(world)[revision] == track
    assert pods_of(world, "canary") == []
    ready, reason = world.ready("VoiceAgentPool", "front-desk")
    assert (ready, reason) == (("True", "Ready") if track == "Stable" else ("False", "RolledBack"))
    if failed:
        assert "3 of its 10 calls failed" in world.message("VoiceAgentPool", "front-desk")
        assert ("Warning", "RolledBack") in [event[:2] for event in world.events()]


async def test_metrics_tell_the_versions_apart(world: World) -> None:
    def told(metric: str) -> dict[tuple[str, ...], float]:
        families = world.context.metrics.registry.collect()
        samples = [s for family in families for s in family.samples if s.name == f"livekit_operator_pool_{metric}"]
        labels = ("revision", "track", "state")
        return {
            tuple(s.labels[label] for label in labels): s.value for s in samples if s.labels["pool"] == "front-desk"
        }

    revision = await with_canary(world, analysis={"minSessions": 10, "maxFailedPercent": 20})
    (former,) = tracks(world).keys() - {revision}
    world.say(pods_of(world, "canary")[0], sessions=1, started=6, failed=2)
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert told("version_pods") == {
        (former, "stable", "present"): 2,
        (former, "stable", "ready"): 2,
        (revision, "canary", "present"): 1,
        (revision, "canary", "ready"): 1,
    }
    sessions = told("version_sessions")
    assert [sessions[revision, "canary", state] for state in ("active", "begun", "failed")] == [1, 6, 2]
    assert sessions[former, "stable", "begun"] == 0
    world.say(pods_of(world, "canary")[0], started=10, failed=2)
    await rolled(world)
    assert {labels[:2] for labels in told("version_sessions")} == {(revision, "stable")}, "the former one is history"
    assert {labels[:2] for labels in told("version_pods")} == {(revision, "stable")}
    world.kubernetes.vanish("VoiceAgentPool", NAMESPACE, "front-desk")
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert told("version_pods") == told("version_sessions") == {}


@pytest.mark.parametrize("canary", [None, {"weight": 20}])
async def test_a_version_that_never_becomes_ready_gives_way_again(world: World, canary: Any) -> None:
    await world.with_server()
    await world.with_pool(replicas=2, rollout={"progressDeadlineSeconds": 60, **({"canary": canary} if canary else {})})
    good = pool(world)["status"]["revision"]
    serving = {pod["metadata"]["name"] for pod in world.agent_pods()}
    world.clock.advance(10)
    change(world, idleProcesses=7)
    await world.settle()
    bad = pool(world)["status"]["revision"]
    (broken,) = [pod for pod in world.agent_pods() if pod["metadata"]["name"] not in serving]
    waiting = {"name": "agent", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    world.kubernetes.edit("Pod", NAMESPACE, broken["metadata"]["name"], {"containerStatuses": [waiting]}, status=True)
    world.clock.advance(30)
    await world.settle()
    assert {pod["metadata"]["name"] for pod in world.agent_pods()} == {*serving, broken["metadata"]["name"]}
    world.clock.advance(31)
    await world.settle()
    world.end_pods()
    await world.settle()
    assert {pod["metadata"]["name"] for pod in pods_of(world, "stable")} == serving, "who serves is left alone"
    (tried,) = pods_of(world, "canary")
    assert tried["metadata"]["labels"]["livekit-operator.dev/revision"] == bad
    assert tracks(world) == {bad: "Failed", good: "Stable"}
    assert "canary" not in pool(world)["status"], "no call comes to it"
    assert world.context.pools[NAMESPACE, "front-desk"].canary is None
    assert condition(pool(world), "Progressing")["reason"] == "Retrying"
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "RolledBack")
    message = world.message("VoiceAgentPool", "front-desk")
    assert f"Revision {bad} failed" in message
    assert "no such image" in message
    change(world, idleProcesses=2)
    await rolled(world)
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready"), "another version is tried"


async def failed_to_start(world: World) -> tuple[str, str]:
    """Put a pool there whose second version has failed; return the revisions of both."""
    await world.with_server()
    await world.with_pool(replicas=2, rollout={"progressDeadlineSeconds": 60})
    good = pool(world)["status"]["revision"]
    world.clock.advance(10)
    change(world, idleProcesses=7)
    await world.settle()
    world.clock.advance(61)
    await world.settle()
    return good, str(pool(world)["status"]["revision"])


async def test_what_could_not_start_is_rolled_out_once_it_can(world: World) -> None:
    good, bad = await failed_to_start(world)
    assert tracks(world) == {bad: "Failed", good: "Stable"}
    (tried,) = pods_of(world, "canary")
    world.run_pods()
    await world.settle()
    assert tracks(world)[bad] == "Failed", "one that is ready and dies at once has not served"
    assert len(pods_of(world, "canary")) == 1
    since = timestamp(world.context.now() - timedelta(seconds=60))
    ready = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]}
    world.kubernetes.edit("Pod", NAMESPACE, tried["metadata"]["name"], ready, status=True)
    await rolled(world)
    assert tracks(world) == {bad: "Stable", good: "History"}
    assert [pod["metadata"]["labels"]["livekit-operator.dev/revision"] for pod in world.agent_pods()] == [bad, bad]
    assert pods_of(world, "canary") == []
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    assert not [line for line in pool(world)["status"]["versions"] if "message" in line]


async def called(world: World, *, people: int) -> None:
    """Let somebody come to the room of the pool, or everybody leave."""
    (world.livekit.join if people else world.livekit.leave)("support-42", "alice")
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("MeetingRoom", "support-42")
    await world.reconcile("VoiceAgentPool", "front-desk")


@pytest.mark.parametrize("rollout", [{}, {"canary": {"weight": 20}}])
async def test_what_cannot_start_gives_way_also_where_nobody_waits_for_it(
    world: World, rollout: dict[str, Any]
) -> None:
    await world.with_server()
    scaling = {**SCALING, "minReplicas": 0, "scaleDownStabilizationSeconds": 30}
    await world.with_pool(autoscaling=scaling, rollout={"progressDeadlineSeconds": 60, **rollout})
    world.kubernetes.put(manifests.room(agents=[{"poolRef": {"name": "front-desk"}}]))
    await world.settle()
    await called(world, people=1)
    world.run_pods()
    await world.settle()
    good = pool(world)["status"]["revision"]
    await called(world, people=0)
    world.clock.advance(31)
    await rolled(world)
    assert world.agent_pods(leaving=None) == []
    change(world, idleProcesses=7)
    await called(world, people=1)
    bad = pool(world)["status"]["revision"]
    tried = [pod for pod in world.agent_pods() if pod["metadata"]["labels"]["livekit-operator.dev/revision"] == bad]
    assert len(tried) == 1
    await called(world, people=0)
    world.clock.advance(45)
    await world.settle()
    world.context.pools.clear()  # the operator is a new one
    await world.settle()
    names = {pod["metadata"]["name"] for pod in world.agent_pods()}
    assert tried[0]["metadata"]["name"] in names, "whether it can serve is not known yet"
    world.clock.advance(16)
    await world.settle()
    assert tracks(world) == {bad: "Failed", good: "Stable"}
    world.clock.advance(31)
    await world.settle()
    world.end_pods()
    assert world.agent_pods() == [], "nobody calls"
    await called(world, people=1)
    revisions = [pod["metadata"]["labels"]["livekit-operator.dev/revision"] for pod in pods_of(world, "stable")]
    assert revisions == [good]


async def test_nothing_is_tried_where_people_want_no_pod(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(replicas=1))
    await world.settle()
    assert len(world.agent_pods()) == 1
    change(world, replicas=0)
    await world.settle()
    assert world.agent_pods() == []


async def test_what_could_not_start_takes_no_place_of_what_serves(world: World) -> None:
    good, _ = await failed_to_start(world)
    lost = pods_of(world, "stable")[0]
    world.kubernetes.edit("Pod", NAMESPACE, lost["metadata"]["name"], {"phase": "Failed"}, status=True)
    await rolled(world)
    stable = pods_of(world, "stable")
    assert [pod["metadata"]["labels"]["livekit-operator.dev/revision"] for pod in stable] == [good, good]
    assert lost["metadata"]["name"] not in {pod["metadata"]["name"] for pod in stable}
    change(world, replicas=0)
    await rolled(world)
    assert world.agent_pods() == [], "nor is anything tried that nobody needs"


async def test_a_former_version_comes_back_when_it_is_named(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=1)
    first = pool(world)["status"]["revision"]
    world.clock.advance(60)
    change(world, sessionsPerPod=1)
    await rolled(world)
    assert tracks(world)[first] == "History"
    change(world, rollout={"rollbackTo": first})
    await rolled(world)
    (pod,) = world.agent_pods()
    assert pod["metadata"]["labels"]["livekit-operator.dev/revision"] == first
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    change(world, rollout={"rollbackTo": "nosuch"})
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "RevisionNotFound")


async def test_a_version_whose_secret_is_missing_replaces_nobody(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=1)
    (serving,) = world.agent_pods()
    agent = pool(world)["spec"]["agent"]
    stt = {**agent["stt"], "apiKeySecretRef": {"name": "nowhere", "key": "k"}}
    world.clock.advance(60)
    change(world, agent={**agent, "stt": stt})
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "SecretNotFound")
    assert "Secret nowhere" in world.message("VoiceAgentPool", "front-desk")
    assert [pod["metadata"]["name"] for pod in world.agent_pods()] == [serving["metadata"]["name"]]
    world.kubernetes.edit("Pod", NAMESPACE, serving["metadata"]["name"], {"phase": "Failed"}, status=True)
    await rolled(world)
    assert len(world.agent_pods()) == 1, "and who serves is replaced when it dies"


async def test_only_so_many_former_versions_are_kept(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=1, rollout={"historyLimit": 2})
    for sessions in (1, 2, 3, 5):
        world.clock.advance(60)
        change(world, sessionsPerPod=sessions)
        await rolled(world)
    assert len(tracks(world)) == 3
    maps = [name for name in world.kubernetes.names("ConfigMap") if name.startswith("front-desk-agent-")]
    assert len(maps) == 3
    assert condition(pool(world), "Progressing")["reason"] == "UpToDate"


async def test_a_version_that_served_once_may_be_unready_for_a_moment(world: World) -> None:
    revision = await with_canary(world, analysis={"minSessions": 1000})
    world.clock.advance(3600)
    for pod in world.agent_pods():  # the server is away, and nobody is registered
        unready = {"conditions": [{"type": "Ready", "status": "False"}]}
        world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], unready, status=True)
    await world.settle()
    assert tracks(world)[revision] == "Canary"
