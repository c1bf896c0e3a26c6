"""How many pods: by the scale subresource, by others, by the clock, and when there may be no more."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e import agents
from tests.e2e.agents import POOL, rolled_out, switchboard
from tests.e2e.conftest import Story
from tests.harness.kubectl import Manifest
from tests.harness.watching import Watched

FIELD_MANAGER = "livekit-operator"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("scaling", [None, {"mode": "External"}])
async def test_replicas_are_whoever_scales_by_the_subresource_has_written(
    story: Story, scaling: Manifest | None
) -> None:
    await agents.serve(story, agents.pool(story, replicas=1, sessionsPerPod=1, autoscaling=scaling))
    async with Watched(story.kubectl, "voiceagentpool", POOL) as pool, switchboard(story) as board:
        await story.kubectl("scale", f"voiceagentpool/{POOL}", "--replicas", "3")
        await pool.until("three pods", lambda s: rolled_out(s) and s.status["replicas"] == 3, seconds=90)
        scale = await _scale(story)
        assert scale["spec"]["replicas"] == scale["status"]["replicas"] == 3
        # What an autoscaler finds the pods by, to measure them.
        found = await story.kubectl.find("pods", scale["status"]["selector"])
        assert {pod["metadata"]["name"] for pod in found} == {p["metadata"]["name"] for p in await agents.pods(story)}

        # Fewer leave only where no call is, whichever pod that is; the number stays another's business.
        await story.kubectl.apply(agents.room("lobby"))
        async with agents.guest(story, "lobby") as guest:
            agent = await agents.meet(board, guest)
            await pool.until("the call to be counted", lambda s: s.status.get("activeSessions") == 1)
            asked = time.monotonic()
            await story.kubectl("scale", f"voiceagentpool/{POOL}", "--replicas", "1")
            await pool.until("one pod", lambda s: rolled_out(s) and s.status["replicas"] == 1, since=asked)
            assert [pod["metadata"]["name"] for pod in await agents.pods(story)] == [agent.pod]
            assert guest.agents == {agent.identity}
        manifest = await story.kubectl.get("voiceagentpool", POOL)
        assert manifest["spec"]["replicas"] == 1
        assert {s.manifest["spec"]["replicas"] for s in pool.states} == {1, 3}
        writers = await story.kubectl("get", "voiceagentpool", POOL, "--show-managed-fields", "--output", "json")
        for entry in json.loads(writers)["metadata"]["managedFields"]:
            assert entry["manager"] != FIELD_MANAGER or "f:spec" not in entry["fieldsV1"], "the operator wrote the spec"
        assert "spec.replicas" in manifest["status"]["desiredReason"]


@pytest.mark.timeout(240)
async def test_a_pool_at_its_limit_says_so_and_how_many_wait(story: Story) -> None:
    # A room that is asked for twice counts twice for a moment.
    scaling = {"minReplicas": 1, "maxReplicas": 1, "bufferSessions": 0, "scaleDownStabilizationSeconds": 0}
    names = ["first", "second", "third"]
    await agents.serve(story, agents.pool(story, sessionsPerPod=1, autoscaling=scaling))
    async with Watched(story.kubectl, "voiceagentpool", POOL) as pool, switchboard(story) as board:
        await story.kubectl.apply(*(agents.room(name, dispatch="OnCreate") for name in names))
        await pool.until("two rooms to wait", lambda s: s.status.get("waitingSessions") == 2)
        words = ("2 rooms wait", "maxReplicas")
        await agents.condition(
            story, "voiceagentpool", POOL, "ScalingLimited", "MaxReplicasReached", status="True", words=words
        )
        assert pool.last.status["desiredReplicas"] == 1
        more = time.monotonic()
        await agents.change(story, {"autoscaling": {"maxReplicas": 5}})
        await board.served(*names, seconds=120)
        await agents.condition(story, "voiceagentpool", POOL, "ScalingLimited", "WithinLimits", status="False")
        await pool.until("three pods to be wanted", lambda s: s.status.get("desiredReplicas") == 3, since=more)
        assert max(board.most.values()) == 1


@pytest.mark.timeout(240)
async def test_a_schedule_that_is_now_raises_the_minimum(story: Story) -> None:
    now = datetime.now(UTC)
    times = {"start": now - timedelta(hours=2), "end": now + timedelta(hours=2)}
    # By the day on which it began, which may have been yesterday.
    window = {name: f"{moment:%H:%M}" for name, moment in times.items()} | {"days": [f"{times['start']:%A}"]}
    other = {"start": window["end"], "end": window["start"], "minReplicas": 5}
    scaling = {"minReplicas": 1, "bufferSessions": 0, "scaleDownStabilizationSeconds": 0}
    await agents.serve(story, agents.pool(story, autoscaling=scaling))
    async with Watched(story.kubectl, "voiceagentpool", POOL) as pool:
        assert pool.last.status["desiredReplicas"] == 1
        await agents.change(story, {"autoscaling": {"schedules": [{**window, "minReplicas": 3}, other]}})
        await pool.until("three pods", lambda s: rolled_out(s) and s.status["replicas"] == 3, seconds=90)
        assert "schedule" in pool.last.status["desiredReason"]
        over = time.monotonic()
        await agents.change(story, {"autoscaling": {"schedules": None}})
        await pool.until("one pod", lambda s: rolled_out(s) and s.status["replicas"] == 1, since=over)


async def _scale(story: Story) -> Manifest:
    """Return the scale subresource as autoscalers see it."""
    api = f"/apis/livekit-operator.dev/v1alpha1/namespaces/{story.kubectl.namespace}/voiceagentpools/{POOL}/scale"
    found: Manifest = json.loads(await story.kubectl("get", "--raw", api))
    assert found["kind"] == "Scale"
    assert found["apiVersion"] == "autoscaling/v1"
    return found
