"""What is there of a pool before a pass does anything, and what its versions may be started with."""

from datetime import timedelta
from typing import Any

import pytest

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.errors import Blocked
from livekit_operator.pools.decisions.history import Rollout
from livekit_operator.pools.manifests.versions import build_template, revision
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.observe import Observation, Runnable, observe, observe_runnable
from livekit_operator.pools.prepare import prepare
from livekit_operator.pools.versions import Kept
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.pools.rollouts import change

SCALING = {"minReplicas": 3, "maxReplicas": 9, "scaleDownStabilizationSeconds": 60}


def known_pool(world: World) -> VoiceAgentPool:
    return VoiceAgentPool.model_validate(world.get("VoiceAgentPool", "front-desk"))


async def observed(world: World) -> Observation:
    """Return what a pass of an operator that has just started observes."""
    pool, memory = known_pool(world), PoolMemory(NAMESPACE)
    prepared = await prepare(world.context, pool, memory)
    assert prepared is not None
    return await observe(world.context, pool, memory, prepared)


async def runnable(world: World, rollout: Rollout, memory: PoolMemory | None = None) -> Runnable:
    found = await observed(world)
    kept = Kept(found.known, rollout.stable)
    memory = memory or PoolMemory(NAMESPACE)
    return await observe_runnable(world.context, known_pool(world), memory, found, kept, rollout)


async def test_what_is_observed(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=2)
    found = await observed(world)
    template = build_template(known_pool(world), "agent:1", {})
    assert (found.template, found.wanted) == (template, revision(template))
    assert list(found.known) == [found.wanted]
    assert sorted(pod.view.name for pod in found.pods.every) == [pod["metadata"]["name"] for pod in world.agent_pods()]
    assert found.credentials.keys.internal_url == world.get("LiveKitServer", "voice")["status"]["internalUrl"]
    assert (found.away, found.server_problem, list(found.prefixes)) == (False, None, [])


async def test_a_server_that_is_not_ready_is_away_and_says_why(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.stop_server()
    await world.reconcile("LiveKitServer", "voice")
    found = await observed(world)
    assert found.away
    assert found.server_problem is not None
    assert found.server_problem.reason == "ServerNotReady"


@pytest.mark.parametrize(
    ("prefix", "pools"), [("phone-", ["front-desk", "other"]), ("", ["front-desk", "other"]), (None, [])]
)
async def test_prefixes_are_read_for_a_pool_that_has_one(world: World, prefix: str | None, pools: list[str]) -> None:
    await world.with_server()
    await world.with_pool(**({} if prefix is None else {"roomPrefix": prefix}))
    world.kubernetes.put(manifests.pool("other", roomPrefix="call-"))
    assert [one.pool[1] for one in (await observed(world)).prefixes] == pools


async def test_a_surge_and_a_canary_are_not_taken_for_what_was_wanted(world: World) -> None:
    await world.with_server()
    await world.with_pool(autoscaling={**SCALING, "minReplicas": 2})
    former = world.agent_pods()
    change(world, sessionsPerPod=2)
    await world.settle()
    assert len(world.agent_pods()) == 3
    wanted = Rollout((await observed(world)).wanted)
    for track, recent in (("canary", 1), ("stable", 2)):
        for pod in former:
            label = {"metadata": {"labels": {"livekit-operator.dev/track": track}}}
            world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], label)
        assert (await runnable(world, wanted)).recent == [(world.clock(), recent)]


@pytest.mark.parametrize(("seconds", "kept"), [(59, True), (60, False)])
async def test_what_was_wanted_counts_as_long_as_the_pool_says(world: World, seconds: float, kept: bool) -> None:
    await world.with_server()
    await world.with_pool(autoscaling=SCALING)
    memory = PoolMemory(NAMESPACE)
    memory.want(7, [], world.clock() - timedelta(seconds=seconds))
    memory.wait((NAMESPACE, "support-42"), world.clock())
    found = await runnable(world, Rollout((await observed(world)).wanted), memory)
    assert [number for _, number in found.recent] == ([7] if kept else [])
    assert (found.waiting, found.now, found.again) == (1, world.clock(), float("inf"))
    change(world, autoscaling=None)
    assert (await runnable(world, Rollout((await observed(world)).wanted), memory)).recent == []


async def test_a_version_that_misses_a_secret_cannot_run(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.vanish("Secret", NAMESPACE, "providers")
    world.context.foreign_secrets.clear()
    for pod in world.agent_pods():
        unready: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "False"}]}
        world.kubernetes.edit("Pod", NAMESPACE, pod["metadata"]["name"], unready, status=True)
    with pytest.raises(Blocked, match="Secret providers of"):
        await runnable(world, Rollout((await observed(world)).wanted))
