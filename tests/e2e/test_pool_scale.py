"""How many pods: as whoever scales by the scale subresource has written, and no call is ended for that."""

import json
import time

import pytest

from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.pools import rolled_out
from tests.e2e.switchboard import enter, meet, switchboard
from tests.harness.kubectl import Manifest
from tests.harness.resources import POOL
from tests.harness.watching import Watched

pytestmark = pytest.mark.one_server("scale")

FIELD_MANAGER = "livekit-operator"


@pytest.mark.timeout(240)
async def test_replicas_are_whoever_scales_by_the_subresource_has_written(story: Story) -> None:
    external = {"mode": "External"}
    await light_agents.serve(story, light_agents.pool(story, replicas=1, sessionsPerPod=1, autoscaling=external))
    async with Watched(story.kubectl, "voiceagentpool", POOL) as pool, switchboard(story) as board:
        await story.kubectl("scale", f"voiceagentpool/{POOL}", "--replicas", "3")
        await pool.until("three pods", lambda s: rolled_out(s) and s.status["replicas"] == 3, seconds=90)
        scale = await _scale(story)
        assert scale["spec"]["replicas"] == scale["status"]["replicas"] == 3
        # What an autoscaler finds the pods by, to measure them.
        found = await story.kubectl.find("pods", scale["status"]["selector"])
        assert {pod["metadata"]["name"] for pod in found} == {p["metadata"]["name"] for p in await pools.pods(story)}

        # Fewer leave only where no call is, whichever pod that is; the number stays another's business.
        await story.kubectl.apply(pools.room("lobby"))
        async with enter(story, "lobby") as guest:
            agent = await meet(board, guest)
            await pool.until("the call to be counted", lambda s: s.status.get("activeSessions") == 1)
            asked = time.monotonic()
            await story.kubectl("scale", f"voiceagentpool/{POOL}", "--replicas", "1")
            await pool.until("one pod", lambda s: rolled_out(s) and s.status["replicas"] == 1, since=asked)
            assert [pod["metadata"]["name"] for pod in await pools.pods(story)] == [agent.pod]
            assert guest.agents == {agent.identity}
        manifest = await story.kubectl.get("voiceagentpool", POOL)
        assert manifest["spec"]["replicas"] == 1
        assert {s.manifest["spec"]["replicas"] for s in pool.states} == {1, 3}
        writers = await story.kubectl("get", "voiceagentpool", POOL, "--show-managed-fields", "--output", "json")
        for entry in json.loads(writers)["metadata"]["managedFields"]:
            assert entry["manager"] != FIELD_MANAGER or "f:spec" not in entry["fieldsV1"], "the operator wrote the spec"
        assert "spec.replicas" in manifest["status"]["desiredReason"]


async def _scale(story: Story) -> Manifest:
    """Return the scale subresource as autoscalers see it."""
    api = f"/apis/livekit-operator.dev/v1alpha1/namespaces/{story.kubectl.namespace}/voiceagentpools/{POOL}/scale"
    found: Manifest = json.loads(await story.kubectl("get", "--raw", api))
    assert found["kind"] == "Scale"
    assert found["apiVersion"] == "autoscaling/v1"
    return found
