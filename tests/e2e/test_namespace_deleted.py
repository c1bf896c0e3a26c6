"""A namespace that is deleted as a whole goes, with servers and rooms in it, whatever goes first."""

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import meeting, node_ports, server
from tests.harness.resources import SERVER


@pytest.mark.timeout(180)
async def test_a_namespace_goes_with_all_that_is_in_it(story: Story) -> None:
    await story.kubectl.apply(server(**node_ports(redis={"managed": {}})), meeting())
    # One that never had keys to begin with.
    await story.kubectl.apply(server("keyless", **node_ports(keysSecretRef={"name": "no-such-secret"})))
    await story.ready("livekitserver", SERVER)
    await story.reason("livekitserver", "keyless", "SecretNotFound")
    await story.kubectl("delete", "namespace", story.kubectl.namespace, "--wait", "--timeout", "90s")
