"""What a pool's memory has of calls that ended: those that go on elsewhere have not, and old ones are old."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from livekit_operator.pools.memory import PoolMemory, SeenPod
from livekit_operator.views import EndedJob, WorkerJob, WorkerStatus
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = EndedJob("AJ_1", "lobby", failed=False, dispatch="AD_1", at=NOW - timedelta(hours=1))


def pod(name: str, *, ended: tuple[EndedJob, ...] = (), jobs: tuple[WorkerJob, ...] = ()) -> SeenPod:
    return SeenPod("r", False, f"0/{name}", False, WorkerStatus(True, len(jobs), jobs=jobs, ended=ended), name)


def test_a_call_that_another_worker_has_has_not_ended() -> None:
    memory, held = PoolMemory(), pod("b", jobs=(WorkerJob("AJ_1", "lobby", dispatch="AD_1"),))
    assert memory.see({"a": pod("a", ended=(ENDED,)), "b": held}, NOW) == set()
    assert (memory.ended_in("lobby"), memory.taken) == ((), frozenset({"AD_1"}))
    assert memory.see({"a": pod("a", ended=(ENDED,)), "b": pod("b")}, NOW) == {"lobby"}
    assert [call.job.id for call in memory.ended_in("lobby")] == ["AJ_1"]


def test_of_a_pod_that_is_new_to_the_operator_a_call_ended_when_the_pod_says() -> None:
    memory = PoolMemory()
    memory.see({"a": pod("a", ended=(ENDED,))}, NOW)
    later = replace(ENDED, id="AJ_2", at=NOW - timedelta(hours=2))
    ahead = replace(ENDED, id="AJ_3", at=NOW + timedelta(hours=2))
    memory.see({"a": pod("a", ended=(ENDED, later)), "b": pod("b", ended=(ahead,))}, NOW)
    at = {call.job.id: call.at for call in memory.ended_in("lobby")}
    assert at == {"AJ_1": NOW - timedelta(hours=1), "AJ_2": NOW, "AJ_3": NOW}


def test_a_call_ended_on_a_version_which_may_be_gone() -> None:
    memory = PoolMemory()
    old, new = pod("a", ended=(ENDED,)), replace(pod("b"), inputs="new key")
    memory.see({"a": replace(old, inputs="old key"), "b": new}, NOW)
    (call,) = memory.ended_in("lobby")
    assert call.version == "r old key"
    assert memory.versions == {"r old key", "r new key"}
    memory.see({"a": replace(old, inputs="old key", leaving=True), "b": new}, NOW)
    assert memory.versions == {"r new key"}


async def test_pods_that_began_with_another_key_are_another_version(world: World) -> None:
    """Their agent may do well where the one before failed."""
    await world.with_server()
    await world.with_pool(replicas=1)
    before = world.context.pools[NAMESPACE, "front-desk"].versions
    changed = manifests.secret("providers", NAMESPACE, deepgram="dg-key", openai="another-key")["data"]
    world.kubernetes.edit("Secret", NAMESPACE, "providers", {"data": changed})
    world.clock.advance(10)
    await world.settle()
    world.run_pods()
    await world.settle()
    after = world.context.pools[NAMESPACE, "front-desk"].versions
    assert after - before
