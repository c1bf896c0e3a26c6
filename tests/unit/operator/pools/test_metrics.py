"""Metrics of a pool, of its versions and of their calls, as long as there is one."""

from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.pools.rollouts import (
    pods_of,
    rolled,
    tracks,
    with_canary,
)


async def test_metrics_go_with_their_pool(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=2)

    def free() -> float | None:
        labels = {"namespace": NAMESPACE, "pool": "front-desk", "state": "free"}
        return world.context.metrics.registry.get_sample_value("livekit_operator_pool_sessions", labels)

    assert free() == 8
    world.kubernetes.vanish("VoiceAgentPool", NAMESPACE, "front-desk")
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert free() is None


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
