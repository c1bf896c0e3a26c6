"""Versions of a VoiceAgentPool: canaries, versions that fail, and the way back."""

from typing import Any

import pytest

from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.pools.rollouts import (
    SCALING,
    change,
    failed_to_start,
    pods_of,
    pool,
    rolled,
    tracks,
    with_canary,
)


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
        memory.release((NAMESPACE, name))  # there is room for all of them
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
