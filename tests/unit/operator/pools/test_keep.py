"""The versions of a pool are kept, and what became of each is noted, as far as that is accepted."""

from datetime import timedelta
from typing import Any

import pytest

from livekit_operator.errors import KubernetesError
from livekit_operator.moments import timestamp
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition
from tests.fakes.world import World
from tests.unit.operator.pools.rollouts import (
    change,
    failed_to_start,
    pods_of,
    pool,
    rolled,
    tracks,
    with_canary,
)


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


async def test_a_pool_without_any_version_says_what_is_refused(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    world.kubernetes.fail("apply", "ConfigMap", KubernetesError(403, "Forbidden", "exceeded quota: small"))
    assert await world.reconcile("VoiceAgentPool", "front-desk") == 2.0
    assert "ConfigMap front-desk-agent-" in world.message("VoiceAgentPool", "front-desk")
    world.kubernetes.heal()
    world.clock.advance(30)
    await world.settle()
    assert len(world.agent_pods()) == 1


async def test_why_a_version_could_not_start_is_told_when_it_is_known_after_its_deadline(world: World) -> None:
    await failed_to_start(world)
    assert world.message("VoiceAgentPool", "front-desk").count("no pod became ready within 60 s.") == 1
    (tried,) = pods_of(world, "canary")
    waiting = {"name": "agent", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    world.kubernetes.edit("Pod", NAMESPACE, tried["metadata"]["name"], {"containerStatuses": [waiting]}, status=True)
    await world.settle()
    assert "no such image" in world.message("VoiceAgentPool", "front-desk")
    writes = len(world.kubernetes.writes)
    again = {**waiting, "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image either"}}}
    world.kubernetes.edit("Pod", NAMESPACE, tried["metadata"]["name"], {"containerStatuses": [again]}, status=True)
    await world.settle()
    assert not [write for write in world.kubernetes.writes[writes:] if "Secret" in str(write)], "it is told once"
