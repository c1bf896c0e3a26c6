"""A volume that cannot be mounted is named in a condition, and what waits for it goes on when it is there."""

import pytest

from tests.e2e import light_agents
from tests.e2e.conftest import Story
from tests.e2e.servers import node_ports, server
from tests.harness.resources import POOL, quickstart

# The quickstart's server has the host ports that everybody's has.
pytestmark = pytest.mark.xdist_group("quickstart")


@pytest.mark.timeout(240)
async def test_a_volume_that_cannot_be_mounted_is_named(story: Story) -> None:
    voice, _, _ = quickstart()
    volumes = {
        "volumes": [{"name": "models", "secret": {"secretName": "models"}}],
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
    }
    pool = light_agents.pool(story)
    for field, added in volumes.items():
        pool["spec"]["podTemplate"][field] += added
    await story.kubectl.apply(
        voice, server("another", **node_ports(podTemplate=volumes)), light_agents.code_map(), pool
    )
    for kind, name, reason in (("voiceagentpool", POOL, "PodsFailing"), ("livekitserver", "another", "PodNotStarting")):
        message = await story.reason(kind, name, reason)
        assert "FailedMount" in message
        assert 'secret "models" not found' in message
    metadata = {"name": "models"}
    await story.kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a": "b"}})
    # The kubelet tries again ever more seldom.
    await story.ready("voiceagentpool", POOL)
    await story.ready("livekitserver", "another")
